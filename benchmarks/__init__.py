"""What the library costs beside the other ways to send such events: `python -m benchmarks`."""
