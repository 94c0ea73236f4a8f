"""Web frameworks: each module brings one to terms with `AlgoliaEvents`, and is imported only by whoever uses it.

All take a callable that makes the client, such as `AlgoliaEvents.from_env`, and call it once a worker process, where
the event loop is that of the worker.
"""
