/* Builds and encodes events of plain values, which nearly all are, in C.
 *
 * The rules are Python's: `events/_rules.py` defines them, `events/_compiled.py` compiles them, `_codec/_encode.py`
 * writes events. What stands here knows which values need no thought, and hands all others to that code as if it had
 * never been called. So nothing here raises an error of its own about a value, and the library is the same without it.
 *
 * Two things to keep in mind when changing it. An allocation of something that the garbage collector watches may run
 * finalizers, hence any code: what a caller could change meanwhile, a list above all, is read after it, not before.
 * And whoever writes to an event's private slots may put anything there, or nothing: each value is looked at.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>
#include <string.h>

#if defined(PYPY_VERSION) || defined(Py_GIL_DISABLED)
/* The library does without: the extension is optional. */
#error "needs CPython with its lock"
#endif

#if PY_VERSION_HEX < 0x030C0000
#include <structmember.h>
#define Py_T_OBJECT_EX T_OBJECT_EX
#endif

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
is_of(const Alphabet alphabet, PyObject *text)
{
    const Py_UCS1 *characters = PyUnicode_1BYTE_DATA(text);
    const Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    unsigned char all = 1;
    for (Py_ssize_t place = 0; place < length; place++) {
        all &= alphabet[characters[place]];
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

typedef enum {
    ABSENT = '-',   /* only None is plain */
    TEXT = 't',     /* `low` to `high` characters, at least 1 */
    TEXTS = 'T',    /* 1 to `most` texts, none empty, of at most `high` characters together */
    INTEGER = 'i',  /* `low` to `high` */
    INTEGERS = 'I', /* `low` to `high` each, as many as there are texts */
} Kind;

typedef struct {
    PyObject *name;
    Py_ssize_t offset;
    int required;
    int kind;
    Alphabet alphabet; /* of texts */
    long long low, high;
    Py_ssize_t most;
} Field;

typedef struct Plan {
    struct Plan *next;
    PyTypeObject *cls;
    Py_ssize_t is_small;
    int count;
    Field fields[MAX_FIELDS];
} Plan;

/* One for each class, never freed: `vectorcall` of a class is not told more than the class. */
static Plan *plans = NULL;

/* Whether a value is a text of 1 to `longest` characters, all of the field's alphabet. */
static int
is_text(const Field *field, PyObject *value, long long longest)
{
    return is_ascii(value) && PyUnicode_GET_LENGTH(value) > 0 && PyUnicode_GET_LENGTH(value) <= longest
           && is_of(field->alphabet, value);
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
    for (Py_ssize_t place = 0; place < count; place++) {
        PyTuple_SET_ITEM(items, place, Py_NewRef(PyList_GET_ITEM(value, place)));
    }
    return items;
}

/* What an event keeps of a value for a field; NULL, maybe without an error, if it takes Python to tell. `texts` is how
 * many texts the event's list of them has. */
static PyObject *
kept_of(const Field *field, PyObject *value, Py_ssize_t *texts)
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
        for (Py_ssize_t place = 0; place < count; place++) {
            PyObject *item = PyTuple_GET_ITEM(items, place);
            if (!is_text(field, item, room)) {
                goto python;
            }
            room -= PyUnicode_GET_LENGTH(item);
        }
        if (count == 0) {
            goto python;
        }
        *texts = count;
        return items;
    case INTEGERS:
        items = as_tuple(value, *texts);
        if (items == NULL) {
            return NULL;
        }
        count = PyTuple_GET_SIZE(items);
        for (Py_ssize_t place = 0; place < count; place++) {
            if (!is_integer(field, PyTuple_GET_ITEM(items, place))) {
                goto python;
            }
        }
        if (count != *texts) {
            goto python;
        }
        return items;
    default: /* ABSENT */
        return NULL;
    }
python:
    Py_DECREF(items);
    return NULL;
}

/* Call a class as if it had no plan. */
static PyObject *
construct_in_python(PyObject *cls, PyObject *const *args, Py_ssize_t positional, PyObject *names)
{
    PyObject *tuple = PyTuple_New(positional), *keywords = NULL, *event = NULL;
    if (tuple == NULL) {
        return NULL;
    }
    for (Py_ssize_t place = 0; place < positional; place++) {
        PyTuple_SET_ITEM(tuple, place, Py_NewRef(args[place]));
    }
    if (names != NULL) {
        keywords = PyDict_New();
        if (keywords == NULL) {
            goto done;
        }
        for (Py_ssize_t place = 0; place < PyTuple_GET_SIZE(names); place++) {
            if (PyDict_SetItem(keywords, PyTuple_GET_ITEM(names, place), args[positional + place]) < 0) {
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
    if (plan == NULL || positional || names == NULL) {
        goto python;
    }
    /* Names in code are interned, and most often in the order of the fields. */
    for (Py_ssize_t place = 0, next = 0; place < PyTuple_GET_SIZE(names); place++) {
        PyObject *name = PyTuple_GET_ITEM(names, place);
        for (int tries = plan->count; plan->fields[next].name != name; tries--) {
            if (tries == 0) {
                goto python;
            }
            next = next + 1 < plan->count ? next + 1 : 0;
        }
        given[next] = args[place];
        next = next + 1 < plan->count ? next + 1 : 0;
    }
    Py_ssize_t texts = 0;
    for (int place = 0; place < plan->count; place++) {
        const Field *field = &plan->fields[place];
        PyObject *value = given[place];
        if (!field->required && (value == NULL || value == Py_None)) {
            kept[place] = Py_NewRef(Py_None);
        }
        else if (value == NULL || (kept[place] = kept_of(field, value, &texts)) == NULL) {
            goto python;
        }
    }
    event = plan->cls->tp_alloc(plan->cls, 0);
    if (event == NULL) {
        goto python;
    }
    for (int place = 0; place < plan->count; place++) {
        *slot_at(event, plan->fields[place].offset) = kept[place];
    }
    *slot_at(event, plan->is_small) = Py_NewRef(Py_True);
    return event;
python:
    for (int place = 0; place < MAX_FIELDS; place++) {
        Py_XDECREF(kept[place]);
    }
    return PyErr_Occurred() ? NULL : construct_in_python(cls, args, positional, names);
}

static int
add_field(Plan *plan, PyObject *described)
{
    Field *field = &plan->fields[plan->count];
    PyObject *slot;
    const char *alphabet;
    Py_ssize_t letters;
    if (!PyArg_ParseTuple(described, "UOpCy#LLn:field", &field->name, &slot, &field->required, &field->kind, &alphabet,
                          &letters, &field->low, &field->high, &field->most)) {
        return -1;
    }
    field->offset = offset_of(plan->cls, slot);
    if (field->offset < 0) {
        return -1;
    }
    for (Py_ssize_t place = 0; place < letters; place++) {
        field->alphabet[(unsigned char)alphabet[place]] = 1;
    }
    Py_INCREF(field->name);
    PyUnicode_InternInPlace(&field->name);
    plan->count++;
    return 0;
}

static void
free_plan(Plan *plan)
{
    for (int place = 0; place < plan->count; place++) {
        Py_DECREF(plan->fields[place].name);
    }
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
    if (!PyArg_ParseTuple(args, "O!O!O:accelerate", &PyType_Type, &cls, &PyList_Type, &fields, &is_small)) {
        return NULL;
    }
    if (!Py_IS_TYPE(cls, &PyType_Type) || PyList_GET_SIZE(fields) > MAX_FIELDS || PyList_GET_SIZE(fields) == 0) {
        return PyErr_Format(PyExc_TypeError, "%R has a metaclass, or not 1 to %d fields", cls, MAX_FIELDS);
    }
    Plan *plan = PyMem_Calloc(1, sizeof(Plan));
    if (plan == NULL) {
        return PyErr_NoMemory();
    }
    plan->cls = (PyTypeObject *)Py_NewRef((PyObject *)cls);
    plan->is_small = offset_of(cls, is_small);
    if (plan->is_small < 0) {
        goto error;
    }
    for (Py_ssize_t place = 0; place < PyList_GET_SIZE(fields); place++) {
        if (add_field(plan, PyList_GET_ITEM(fields, place)) < 0) {
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

/* What None stands for. */
typedef enum {
    NOTHING = '-',  /* the member is left out */
    NOW = 'n',      /* the time that is given */
    REQUIRED = 'r', /* for nothing that an event could mean */
} None;

typedef struct {
    PyObject *before; /* the name, and the punctuation around it */
    Py_ssize_t offset;
    int none;
} Member;

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyTypeObject *cls;
    PyObject *otherwise;
    PyObject *start;
    int count;
    Member members[MAX_FIELDS];
} Encoder;

/* What JSON in ASCII takes as it is: filled when the module is made. */
static Alphabet unescaped;

/* Each of these writes behind `at` and returns where to go on; NULL if it takes Python, or more than there is room. */

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
    const Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    if (end - at < length + 2 || !is_of(unescaped, text)) {
        return NULL;
    }
    *at++ = '"';
    memcpy(at, PyUnicode_1BYTE_DATA(text), length);
    at += length;
    *at++ = '"';
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
    for (Py_ssize_t place = 0; place < PyTuple_GET_SIZE(items); place++) {
        if (at == end) {
            return NULL;
        }
        *at++ = place ? ',' : '[';
        at = put_value(at, end, PyTuple_GET_ITEM(items, place));
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
    for (int place = 0; at != NULL && place < encoder->count; place++) {
        const Member *member = &encoder->members[place];
        PyObject *value = *slot_at(args[0], member->offset);
        if (value == Py_None) {
            if (member->none == NOTHING) {
                continue;
            }
            value = member->none == NOW ? args[1] : NULL;
        }
        if (value == NULL || (at = put(at, end, member->before)) == NULL) {
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
    return PyObject_Vectorcall(encoder->otherwise, args, flags, names);
}

static void
encoder_dealloc(PyObject *self)
{
    Encoder *encoder = (Encoder *)self;
    PyTypeObject *type = Py_TYPE(self);
    for (int place = 0; place < encoder->count; place++) {
        Py_DECREF(encoder->members[place].before);
    }
    Py_XDECREF(encoder->cls);
    Py_XDECREF(encoder->start);
    Py_XDECREF(encoder->otherwise);
    type->tp_free(self);
    Py_DECREF(type);
}

static int
add_member(Encoder *encoder, PyObject *described)
{
    Member *member = &encoder->members[encoder->count];
    PyObject *slot;
    if (!PyArg_ParseTuple(described, "UOC:member", &member->before, &slot, &member->none)) {
        return -1;
    }
    member->offset = offset_of(encoder->cls, slot);
    if (member->offset < 0) {
        return -1;
    }
    if (!is_ascii(member->before)) {
        PyErr_SetString(PyExc_ValueError, "names are ASCII");
        return -1;
    }
    Py_INCREF(member->before);
    encoder->count++;
    return 0;
}

static PyObject *
encoder_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    PyTypeObject *cls;
    PyObject *start, *members, *otherwise;
    if (!PyArg_ParseTuple(args, "O!UO!O:Encoder", &PyType_Type, &cls, &start, &PyList_Type, &members, &otherwise)) {
        return NULL;
    }
    if (!is_ascii(start) || PyList_GET_SIZE(members) > MAX_FIELDS) {
        return PyErr_Format(PyExc_ValueError, "the start is not ASCII, or there are more than %d members", MAX_FIELDS);
    }
    Encoder *encoder = (Encoder *)type->tp_alloc(type, 0);
    if (encoder == NULL) {
        return NULL;
    }
    encoder->vectorcall = encode;
    encoder->cls = (PyTypeObject *)Py_NewRef((PyObject *)cls);
    encoder->start = Py_NewRef(start);
    encoder->otherwise = Py_NewRef(otherwise);
    for (Py_ssize_t place = 0; place < PyList_GET_SIZE(members); place++) {
        if (add_member(encoder, PyList_GET_ITEM(members, place)) < 0) {
            Py_DECREF(encoder);
            return NULL;
        }
    }
    return (PyObject *)encoder;
}

PyDoc_STRVAR(encoder_doc, "Encoder(cls, start, members, otherwise, /)\n--\n\n"
                          "Called with an event of `cls` and the time, write it as `otherwise` does.\n\n"
                          "Members are tuples (text before the value, slot, what None stands for).");

#if PY_VERSION_HEX < 0x030C0000
#define Py_T_PYSSIZET T_PYSSIZET
#define Py_READONLY READONLY
#endif

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
    const int result = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return result;
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
