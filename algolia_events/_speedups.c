/* Builds and encodes events of plain values, which nearly all are, in C.
 *
 * The rules are Python's: `events/_rules.py` defines them, `events/_compiled.py` compiles them, `_codec/_encode.py`
 * writes events. What stands here knows which values need no thought, and hands all others to that code as if it had
 * never been called. So nothing here raises an error of its own about a value, and the library is the same without it.
 * `make sanitize` runs its tests with the compiler's checks of memory.
 *
 * Two things to keep in mind when changing it. An allocation of something that the garbage collector watches may run
 * finalizers, hence any code: what a caller could change meanwhile, a list above all, is read after it, not before.
 * And whoever writes to an event's private slots may put anything there, or nothing: each value is looked at.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>
#include <string.h>

#if defined(PYPY_VERSION) || defined(GRAALVM_PYTHON) || defined(Py_GIL_DISABLED)
#error "needs CPython with its lock; the library does without this"
#endif

#if PY_VERSION_HEX < 0x030C0000
#include <structmember.h>
#define Py_T_OBJECT_EX T_OBJECT_EX
#define Py_T_PYSSIZET T_PYSSIZET
#define Py_READONLY READONLY
#endif

/* What `_native.py` expects: whoever changes what Python calls raises both. */
#define INTERFACE 1

#define MAX_FIELDS 16
/* More than a small event of plain values can take: those of 20 objects and the longest tokens take 2 KiB. */
#define MAX_ENCODED 4096
#define MAX_DIGITS 20

static int
is_ascii(PyObject *value)
{
    return PyUnicode_CheckExact(value) && PyUnicode_IS_COMPACT_ASCII(value);
}

/* Characters: 1 for each of a set. */
typedef unsigned char Alphabet[256];

static int
all_in(const Alphabet alphabet, PyObject *text)
{
    const Py_UCS1 *characters = PyUnicode_1BYTE_DATA(text);
    const Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    unsigned char all = 1;
    for (Py_ssize_t i = 0; i < length; i++) {
        all &= alphabet[characters[i]];
    }
    return all;
}

/* Where objects of a class keep what a slot of theirs holds; -1 and an error if there is no such slot. */
static Py_ssize_t
offset_of(PyTypeObject *cls, PyObject *slot)
{
    if (Py_IS_TYPE(slot, &PyMemberDescr_Type)) {
        PyMemberDescrObject *descriptor = (PyMemberDescrObject *)slot;
        if (descriptor->d_member->type == Py_T_OBJECT_EX && PyType_IsSubtype(cls, descriptor->d_common.d_type)) {
            return descriptor->d_member->offset;
        }
    }
    PyErr_Format(PyExc_TypeError, "%R is no slot of %R", slot, cls);
    return -1;
}

static inline PyObject **
slot_at(PyObject *object, Py_ssize_t offset)
{
    return (PyObject **)((char *)object + offset);
}

/* --- building -------------------------------------------------------------------------------------------------- */

/* Kinds of fields, and which of their values are plain: text is an ASCII `str` of the field's alphabet. */
enum {
    ABSENT = '-',   /* None alone */
    TEXT = 't',     /* `low` to `high` characters, at least 1 */
    TEXTS = 'T',    /* 1 to `most` texts, none empty, of at most `high` characters together */
    INTEGER = 'i',  /* `low` to `high` */
    INTEGERS = 'I', /* `low` to `high` each, as many as there are texts */
};

typedef struct {
    PyObject *name;
    Py_ssize_t offset;
    int required;
    int kind;
    Alphabet alphabet;
    long long low, high;
    Py_ssize_t most;
} Field;

typedef struct Plan {
    struct Plan *next;
    PyTypeObject *cls;
    newfunc new; /* this and `init` as they were: whoever replaces one has it called */
    PyObject *init;
    Py_ssize_t is_small;
    int count;
    Field fields[MAX_FIELDS];
} Plan;

/* One for each class, never freed: `vectorcall` of a class is not told more than the class. So the classes live for
 * ever, and to make them anew over and over (`importlib.reload()`) makes finding their plans slower. */
static Plan *plans = NULL;
static PyObject *init_name;

/* Whether a value is a text of 1 to `longest` characters, all of the field's alphabet. */
static int
is_text(const Field *field, PyObject *value, long long longest)
{
    return is_ascii(value) && PyUnicode_GET_LENGTH(value) > 0 && PyUnicode_GET_LENGTH(value) <= longest
           && all_in(field->alphabet, value);
}

static int
is_integer(const Field *field, PyObject *value)
{
    int overflow;
    if (!PyLong_CheckExact(value)) {
        return 0;
    }
    const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    return !overflow && field->low <= number && number <= field->high;
}

/* A list or tuple of at most `most` items as a tuple of our own; NULL, maybe without an error, if it is none. */
static PyObject *
as_tuple(PyObject *value, Py_ssize_t most)
{
    if (PyTuple_CheckExact(value)) {
        return PyTuple_GET_SIZE(value) <= most ? Py_NewRef(value) : NULL;
    }
    if (!PyList_CheckExact(value) || PyList_GET_SIZE(value) > most) {
        return NULL;
    }
    const Py_ssize_t count = PyList_GET_SIZE(value);
    PyObject *items = PyTuple_New(count);
    if (items == NULL) {
        return NULL;
    }
    if (PyList_GET_SIZE(value) != count) { /* a finalizer has changed it */
        Py_DECREF(items);
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyTuple_SET_ITEM(items, i, Py_NewRef(PyList_GET_ITEM(value, i)));
    }
    return items;
}

/* What an event keeps of a value for a field; NULL, maybe without an error, if it takes Python to tell. `texts` is how
 * many texts the event's list of them has. */
static PyObject *
convert(const Field *field, PyObject *value, Py_ssize_t *texts)
{
    PyObject *items;
    Py_ssize_t count;
    long long room = field->high;
    switch (field->kind) {
    case TEXT:
        return is_text(field, value, room) && PyUnicode_GET_LENGTH(value) >= field->low ? Py_NewRef(value) : NULL;
    case INTEGER:
        return is_integer(field, value) ? Py_NewRef(value) : NULL;
    case TEXTS:
        items = as_tuple(value, field->most);
        if (items == NULL) {
            return NULL;
        }
        count = PyTuple_GET_SIZE(items);
        if (count == 0) {
            goto python;
        }
        for (Py_ssize_t i = 0; i < count; i++) {
            PyObject *item = PyTuple_GET_ITEM(items, i);
            if (!is_text(field, item, room)) {
                goto python;
            }
            room -= PyUnicode_GET_LENGTH(item);
        }
        *texts = count;
        return items;
    case INTEGERS:
        items = as_tuple(value, *texts);
        if (items == NULL) {
            return NULL;
        }
        count = PyTuple_GET_SIZE(items);
        if (count != *texts) {
            goto python;
        }
        for (Py_ssize_t i = 0; i < count; i++) {
            if (!is_integer(field, PyTuple_GET_ITEM(items, i))) {
                goto python;
            }
        }
        return items;
    default: /* ABSENT */
        return NULL;
    }
python:
    Py_DECREF(items);
    return NULL;
}

static int
is_as_planned(const Plan *plan)
{
    return plan->cls->tp_new == plan->new
           && PyDict_GetItemWithError(plan->cls->tp_dict, init_name) == plan->init;
}

/* Call a class as if it had no plan. */
static PyObject *
construct_in_python(PyObject *cls, PyObject *const *args, Py_ssize_t positional, PyObject *names)
{
    PyObject *tuple = PyTuple_New(positional), *keywords = NULL, *event = NULL;
    if (tuple == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < positional; i++) {
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    }
    if (names != NULL) {
        keywords = PyDict_New();
        if (keywords == NULL) {
            goto done;
        }
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
            if (PyDict_SetItem(keywords, PyTuple_GET_ITEM(names, i), args[positional + i]) < 0) {
                goto done;
            }
        }
    }
    event = PyType_Type.tp_call(cls, tuple, keywords);
done:
    Py_DECREF(tuple);
    Py_XDECREF(keywords);
    return event;
}

static PyObject *
construct(PyObject *cls, PyObject *const *args, size_t flags, PyObject *names)
{
    const Py_ssize_t positional = PyVectorcall_NARGS(flags);
    PyObject *given[MAX_FIELDS] = {NULL}, *kept[MAX_FIELDS] = {NULL}, *event;
    const Plan *plan = plans;
    while (plan != NULL && plan->cls != (PyTypeObject *)cls) {
        plan = plan->next;
    }
    if (plan == NULL || positional || names == NULL || !is_as_planned(plan)) {
        goto python;
    }
    /* Names in code are interned, and most often in the order of the fields. */
    for (Py_ssize_t i = 0, next = 0; i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        for (int tries = plan->count; plan->fields[next].name != name; tries--) {
            if (tries == 0) {
                goto python;
            }
            next = next + 1 < plan->count ? next + 1 : 0;
        }
        given[next] = args[i];
        next = next + 1 < plan->count ? next + 1 : 0;
    }
    Py_ssize_t texts = 0;
    for (int i = 0; i < plan->count; i++) {
        const Field *field = &plan->fields[i];
        PyObject *value = given[i];
        if (!field->required && (value == NULL || value == Py_None)) {
            kept[i] = Py_NewRef(Py_None);
        }
        else if (value == NULL || (kept[i] = convert(field, value, &texts)) == NULL) {
            goto python;
        }
    }
    event = plan->cls->tp_alloc(plan->cls, 0);
    if (event == NULL) {
        goto python;
    }
    for (int i = 0; i < plan->count; i++) {
        *slot_at(event, plan->fields[i].offset) = kept[i];
    }
    *slot_at(event, plan->is_small) = Py_NewRef(Py_True);
    return event;
python:
    for (int i = 0; i < MAX_FIELDS; i++) {
        Py_XDECREF(kept[i]);
    }
    return PyErr_Occurred() ? NULL : construct_in_python(cls, args, positional, names);
}

static int
add_field(Plan *plan, PyObject *spec)
{
    Field *field = &plan->fields[plan->count];
    PyObject *slot;
    const char *alphabet;
    Py_ssize_t letters;
    if (!PyArg_ParseTuple(spec, "UOpCy#LLn:field", &field->name, &slot, &field->required, &field->kind, &alphabet,
                          &letters, &field->low, &field->high, &field->most)) {
        return -1;
    }
    field->offset = offset_of(plan->cls, slot);
    if (field->offset < 0) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < letters; i++) {
        field->alphabet[(unsigned char)alphabet[i]] = 1;
    }
    Py_INCREF(field->name);
    PyUnicode_InternInPlace(&field->name);
    plan->count++;
    return 0;
}

static void
free_plan(Plan *plan)
{
    for (int i = 0; i < plan->count; i++) {
        Py_DECREF(plan->fields[i].name);
    }
    Py_DECREF(plan->init);
    Py_DECREF(plan->cls);
    PyMem_Free(plan);
}

PyDoc_STRVAR(accelerate_doc, "accelerate(cls, fields, is_small, /)\n--\n\n"
                             "Have calls of a class with plain values build its objects here.\n\n"
                             "Fields are tuples (name, slot, required, kind, alphabet, low, high, most), in the order\n"
                             "of the class; `is_small` is the slot that says so of events.");

static PyObject *
accelerate(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyTypeObject *cls;
    PyObject *fields, *is_small;
    if (!PyArg_ParseTuple(args, "O!O!O:accelerate", &PyType_Type, &cls, &PyTuple_Type, &fields, &is_small)) {
        return NULL;
    }
    PyObject *init = PyDict_GetItemWithError(cls->tp_dict, init_name);
    if (!Py_IS_TYPE(cls, &PyType_Type) || init == NULL) {
        return PyErr_Format(PyExc_TypeError, "%R has a metaclass, or no __init__ of its own", cls);
    }
    if (PyTuple_GET_SIZE(fields) == 0 || PyTuple_GET_SIZE(fields) > MAX_FIELDS) {
        return PyErr_Format(PyExc_ValueError, "1 to %d fields, not %zd", MAX_FIELDS, PyTuple_GET_SIZE(fields));
    }
    Plan *plan = PyMem_Calloc(1, sizeof(Plan));
    if (plan == NULL) {
        return PyErr_NoMemory();
    }
    plan->cls = (PyTypeObject *)Py_NewRef((PyObject *)cls);
    plan->new = cls->tp_new;
    plan->init = Py_NewRef(init);
    plan->is_small = offset_of(cls, is_small);
    if (plan->is_small < 0) {
        goto error;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(fields); i++) {
        if (add_field(plan, PyTuple_GET_ITEM(fields, i)) < 0) {
            goto error;
        }
    }
    plan->next = plans;
    plans = plan;
    cls->tp_vectorcall = construct;
    Py_RETURN_NONE;
error:
    free_plan(plan);
    return NULL;
}

/* --- encoding -------------------------------------------------------------------------------------------------- */

/* What becomes of a member whose value is None. */
enum {
    LEFT_OUT = '-',
    NOW = 'n',      /* it is the time that is given */
    REQUIRED = 'r', /* Python decides: no constructor lets it be */
};

typedef struct {
    PyObject *prefix; /* the name, and the punctuation around it */
    Py_ssize_t offset;
    int if_none;
} Member;

/* Not known to the garbage collector: encoders live as long as their classes. */
typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyTypeObject *cls;
    PyObject *fallback;
    PyObject *start;
    int count;
    Member members[MAX_FIELDS];
} Encoder;

/* What JSON in ASCII takes as it is: filled when the module is made. */
static Alphabet unescaped;

/* Each of these writes at `at` and returns where to go on; NULL if it takes Python, or more than there is room. */

static char *
put(char *at, const char *end, PyObject *text)
{
    const Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    if (end - at < length) {
        return NULL;
    }
    memcpy(at, PyUnicode_1BYTE_DATA(text), length);
    return at + length;
}

static char *
put_text(char *at, const char *end, PyObject *text)
{
    if (end - at < 2 || !all_in(unescaped, text)) {
        return NULL;
    }
    *at++ = '"';
    at = put(at, end - 1, text);
    if (at != NULL) {
        *at++ = '"';
    }
    return at;
}

static char *
put_integer(char *at, const char *end, PyObject *integer)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(integer, &overflow);
    char digits[MAX_DIGITS];
    int count = 0;
    if (overflow || number < 0 || end - at < MAX_DIGITS) {
        return NULL;
    }
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    while (count) {
        *at++ = digits[--count];
    }
    return at;
}

static char *
put_value(char *at, const char *end, PyObject *value)
{
    if (is_ascii(value)) {
        return put_text(at, end, value);
    }
    return PyLong_CheckExact(value) ? put_integer(at, end, value) : NULL;
}

static char *
put_items(char *at, const char *end, PyObject *items)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); i++) {
        if (at == end) {
            return NULL;
        }
        *at++ = i ? ',' : '[';
        at = put_value(at, end, PyTuple_GET_ITEM(items, i));
        if (at == NULL) {
            return NULL;
        }
    }
    if (at == end || PyTuple_GET_SIZE(items) == 0) {
        return NULL;
    }
    *at++ = ']';
    return at;
}

static PyObject *
encode(PyObject *callable, PyObject *const *args, size_t flags, PyObject *names)
{
    const Encoder *encoder = (Encoder *)callable;
    char encoded[MAX_ENCODED], *at = encoded, *const end = encoded + sizeof(encoded);
    if (PyVectorcall_NARGS(flags) != 2 || names != NULL || !Py_IS_TYPE(args[0], encoder->cls)) {
        goto python;
    }
    at = put(at, end, encoder->start);
    for (int i = 0; at != NULL && i < encoder->count; i++) {
        const Member *member = &encoder->members[i];
        PyObject *value = *slot_at(args[0], member->offset);
        if (value == Py_None) {
            if (member->if_none == LEFT_OUT) {
                continue;
            }
            value = member->if_none == NOW ? args[1] : NULL;
        }
        if (value == NULL || (at = put(at, end, member->prefix)) == NULL) {
            goto python;
        }
        at = PyTuple_CheckExact(value) ? put_items(at, end, value) : put_value(at, end, value);
    }
    if (at == NULL || at == end) {
        goto python;
    }
    *at++ = '}';
    PyObject *text = PyUnicode_New(at - encoded, '~');
    if (text != NULL) {
        memcpy(PyUnicode_1BYTE_DATA(text), encoded, at - encoded);
    }
    return text;
python:
    return PyObject_Vectorcall(encoder->fallback, args, flags, names);
}

static void
encoder_dealloc(PyObject *self)
{
    Encoder *encoder = (Encoder *)self;
    PyTypeObject *type = Py_TYPE(self);
    for (int i = 0; i < encoder->count; i++) {
        Py_DECREF(encoder->members[i].prefix);
    }
    Py_XDECREF(encoder->cls);
    Py_XDECREF(encoder->start);
    Py_XDECREF(encoder->fallback);
    type->tp_free(self);
    Py_DECREF(type);
}

static int
add_member(Encoder *encoder, PyObject *spec)
{
    Member *member = &encoder->members[encoder->count];
    PyObject *slot;
    if (!PyArg_ParseTuple(spec, "UOC:member", &member->prefix, &slot, &member->if_none)) {
        return -1;
    }
    member->offset = offset_of(encoder->cls, slot);
    if (member->offset < 0) {
        return -1;
    }
    if (!is_ascii(member->prefix)) {
        PyErr_SetString(PyExc_ValueError, "names are ASCII");
        return -1;
    }
    Py_INCREF(member->prefix);
    encoder->count++;
    return 0;
}

static PyObject *
encoder_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyTypeObject *cls;
    PyObject *start, *members, *fallback;
    if (!PyArg_ParseTuple(args, "O!UO!O:Encoder", &PyType_Type, &cls, &start, &PyTuple_Type, &members, &fallback)) {
        return NULL;
    }
    if (keywords != NULL && PyDict_GET_SIZE(keywords)) {
        PyErr_SetString(PyExc_TypeError, "Encoder() takes no keyword arguments");
        return NULL;
    }
    if (!is_ascii(start) || PyTuple_GET_SIZE(members) > MAX_FIELDS) {
        return PyErr_Format(PyExc_ValueError, "the start is not ASCII, or there are more than %d members", MAX_FIELDS);
    }
    Encoder *encoder = (Encoder *)type->tp_alloc(type, 0);
    if (encoder == NULL) {
        return NULL;
    }
    encoder->vectorcall = encode;
    encoder->cls = (PyTypeObject *)Py_NewRef((PyObject *)cls);
    encoder->start = Py_NewRef(start);
    encoder->fallback = Py_NewRef(fallback);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(members); i++) {
        if (add_member(encoder, PyTuple_GET_ITEM(members, i)) < 0) {
            Py_DECREF(encoder);
            return NULL;
        }
    }
    return (PyObject *)encoder;
}

PyDoc_STRVAR(encoder_doc, "Encoder(cls, start, members, fallback, /)\n--\n\n"
                          "Called with an event of `cls` and the time, write it as `fallback` does.\n\n"
                          "Members are tuples (prefix, slot, what becomes of it if it is None).");

static PyMemberDef encoder_members[] = {
    {"__vectorcalloffset__", Py_T_PYSSIZET, offsetof(Encoder, vectorcall), Py_READONLY, NULL},
    {NULL},
};

static PyType_Slot encoder_slots[] = {
    {Py_tp_doc, (void *)encoder_doc},
    {Py_tp_new, encoder_new},
    {Py_tp_dealloc, encoder_dealloc},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, encoder_members},
    {0, NULL},
};

static PyType_Spec encoder_spec = {
    .name = "algolia_events._speedups.Encoder",
    .basicsize = sizeof(Encoder),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = encoder_slots,
};

/* --- the module ------------------------------------------------------------------------------------------------ */

static int
execute(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &encoder_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    for (int character = ' '; character <= '~'; character++) {
        unescaped[character] = character != '"' && character != '\\';
    }
    init_name = PyUnicode_InternFromString("__init__");
    const int result = init_name == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return result < 0 ? -1 : PyModule_AddIntMacro(module, INTERFACE);
}

static PyMethodDef functions[] = {
    {"accelerate", accelerate, METH_VARARGS, accelerate_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#ifdef Py_mod_multiple_interpreters
    /* The plans are one list for the whole process. */
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "algolia_events._speedups",
    .m_doc = "Events of plain values, built and encoded in C.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
