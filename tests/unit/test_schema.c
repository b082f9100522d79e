/* SPDX-License-Identifier: Apache-2.0 */

/* Tables as JSON Schema, and as examples. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/json/schema.h"

struct args {
        const char *name;
        struct json_text text;
        int color;
        uint64_t count;
        bool has_count;
        uint64_t wait_ms;
        bool flag;
        json_t *env;
        json_t *list;
};

static const struct enum_name colors[] = {
        { "red", 1 },
        { "green", 2 },
        { "verde", 2 },
        { NULL, 0 },
};

/* @schema is freed; @expected is JSON, in which ' stands for ". */
static void check(json_t *schema, const char *expected)
{
        CLEANUP(mem_free) char *text = xstrdup(expected);
        CLEANUP(mem_free) char *got = NULL;
        CLEANUP(mem_free) char *wanted = NULL;
        json_t *parsed;

        for (char *p = text; *p; p++)
                *p = *p == '\'' ? '"' : *p;
        parsed = json_loads(text, JSON_DECODE_ANY, NULL);
        assert_non_null(parsed);
        got = json_dumps(schema, JSON_ENCODE_ANY | JSON_SORT_KEYS | JSON_REAL_PRECISION(12));
        wanted = json_dumps(parsed, JSON_ENCODE_ANY | JSON_SORT_KEYS | JSON_REAL_PRECISION(12));
        assert_string_equal(got, wanted);
        json_decref(parsed);
        json_decref(schema);
}

#define CHECK_FIELD(row, expected)                    \
        do {                                          \
                const struct json_field f = row;      \
                check(schema_of_field(&f), expected); \
        } while (0)

/* clang-format off */
static void test_strings(void **state)
{
        (void)state;
        CHECK_FIELD(F_STRING(struct args, name, .required = true, .min = 1, .max = 64, .doc = "Its name"),
                    "{'type':'string','minLength':1,'maxLength':64,'description':'Its name'}");
        /* Nine bytes may be three characters. */
        CHECK_FIELD(F_STRING(struct args, name, .required = true, .min = 9), "{'type':'string','minLength':3}");
        CHECK_FIELD(F_STRING(struct args, name, .def_text = "x"), "{'type':['string','null'],'default':'x'}");
        CHECK_FIELD(F_STRING(struct args, name, .in = IN_QUERY), "{'type':'string'}");
        CHECK_FIELD(F_STRING(struct args, name, .required = true, .number_ok = true), "{'type':['string','integer']}");
        CHECK_FIELD(F_STRING(struct args, name, .in = IN_PATH, .environment = true),
                    "{'type':'string','pattern':'^[A-Za-z_][A-Za-z0-9_]*$'}");
        CHECK_FIELD(F_TEXT(struct args, text, .required = true, .example = "\"a\""),
                    "{'type':'string','examples':['a']}");
}

static void test_enums(void **state)
{
        (void)state;
        CHECK_FIELD(F_ENUM(struct args, color, .names = colors, .def = 2),
                    "{'type':['string','null'],'enum':['red','green','verde',null],'default':'green'}");
        CHECK_FIELD(F_ENUM(struct args, color, .names = colors, .in = IN_QUERY),
                    "{'type':'string','enum':['red','green','verde']}");
}

static void test_numbers(void **state)
{
        (void)state;
        CHECK_FIELD(F_UINT(struct args, count, .required = true, .min = 1, .max = 9),
                    "{'type':'integer','minimum':1,'maximum':9}");
        CHECK_FIELD(F_UINT(struct args, count, .in = IN_QUERY, .max = 9, .def = 5),
                    "{'type':'integer','minimum':0,'maximum':9,'default':5}");
        /* Absent is something else than any value. */
        CHECK_FIELD(F_UINT(struct args, count, .in = IN_QUERY, .min = 16, .max = 99),
                    "{'type':'integer','minimum':16,'maximum':99}");
        CHECK_FIELD(F_UINT(struct args, count, .in = IN_QUERY, .max = 9,
                           .set_offset = offsetof(struct args, has_count)),
                    "{'type':'integer','minimum':0,'maximum':9}");
        CHECK_FIELD(F_UINT(struct args, count, .in = IN_QUERY),
                    "{'type':'integer','minimum':0,'maximum':9223372036854775807,'default':0}");
        /* Milliseconds here, seconds there; what is too long is shortened. */
        CHECK_FIELD(F_SECONDS(struct args, wait_ms, .in = IN_QUERY, .min = 1, .max = 60000, .def = 1500, .doc = "Wait"),
                    "{'type':'number','minimum':0.001,'default':1.5,"
                    "'description':'Wait. More than 60 is taken for it.'}");
        CHECK_FIELD(F_BOOL(struct args, flag, .def = true), "{'type':['boolean','null'],'default':true}");
}

static void test_collections(void **state)
{
        (void)state;
        CHECK_FIELD(F_STRING_MAP(struct args, env, .required = true, .environment = true, .max = 8, .max_item = 99),
                    "{'type':'object','propertyNames':{'pattern':'^[A-Za-z_][A-Za-z0-9_]*$'},'maxProperties':8,"
                    "'additionalProperties':{'type':['string','number','boolean'],'maxLength':99}}");
        CHECK_FIELD(F_STRING_LIST(struct args, list, .required = true, .min = 1, .max = 8),
                    "{'type':'array','items':{'type':['string','number','boolean']},'minItems':1,'maxItems':8}");
}

static void test_objects_of_fields(void **state)
{
        const struct json_field fields[] = {
                F_STRING(struct args, name, .in = IN_PATH, .required = true),
                F_BOOL(struct args, flag, .required = true),
                F_TEXT(struct args, text, .alias = "content", .required = true),
                F_UINT(struct args, count, .max = 9, .example = "3"),
                F_END
        };

        (void)state;
        check(schema_of_fields(fields, IN_BODY),
              "{'type':'object','properties':{'flag':{'type':'boolean'},'text':{'type':['string','null']},"
              "'content':{'type':['string','null'],'description':'Another name of `text`, which wins'},"
              "'count':{'type':['integer','null'],'minimum':0,'maximum':9,'default':0,'examples':[3]}},"
              "'required':['flag'],'allOf':[{'anyOf':["
              "{'required':['text'],'properties':{'text':{'type':'string'}}},"
              "{'required':['content'],'properties':{'content':{'type':'string'}}}]}]}");
        check(schema_of_fields(fields, IN_PATH),
              "{'type':'object','properties':{'name':{'type':'string'}},'required':['name']}");
        check(schema_of_fields(NULL, IN_BODY), "{'type':'object','properties':{}}");
        check(example_of_fields(fields, IN_BODY), "{'flag':true,'text':'text','count':3}");
}

static const struct shape owner_shape[] = {
        S_STRING("name", .example = "\"root\""),
        S_END
};

static const struct shape file_shape[] = {
        S_STRING ("path"),
        S_TIME   ("at", .nullable = true),
        S_ENUM   ("color", colors),
        S_INTEGER("size", .min = -1, .doc = "Bytes"),
        S_NUMBER ("share", .optional = true),
        S_OBJECT ("owner", owner_shape, .nullable = true),
        S_LIST   ("owners", S_ITEM_OF(SHAPE_OBJECT, owner_shape)),
        S_MAP    ("tags", S_ITEM(SHAPE_STRING)),
        S_ANY    ("more"),
        S_END
};

static const char *find(void *arg, const struct shape *table)
{
        return table == owner_shape ? arg : NULL;
}

static void test_shapes(void **state)
{
        struct schema_names names = { .find = find, .arg = (void *)"#/owner" };

        (void)state;
#define BEFORE                                                                                                       \
        "{'type':'object','properties':{'path':{'type':'string'},'at':{'type':['string','null'],'format':'date-time'}," \
        "'color':{'type':'string','enum':['red','green','verde']},"                                                   \
        "'size':{'type':'integer','minimum':-1,'description':'Bytes'},'share':{'type':'number'},"
#define OWNER "'properties':{'name':{'type':'string','examples':['root']}},'required':['name']}"
#define AFTER                                                                                                        \
        "'tags':{'type':'object','additionalProperties':{'type':'string'}},'more':{}},"                               \
        "'required':['path','at','color','size','owner','owners','tags','more']}"
        check(schema_of_shape(file_shape, NULL),
              BEFORE "'owner':{'type':['object','null']," OWNER
              ",'owners':{'type':'array','items':{'type':'object'," OWNER "}," AFTER);
        check(schema_of_shape(file_shape, &names),
              BEFORE "'owner':{'anyOf':[{'$ref':'#/owner'},{'type':'null'}]},"
              "'owners':{'type':'array','items':{'$ref':'#/owner'}}," AFTER);
        check(example_of_shape(file_shape),
              "{'path':'text','at':'2026-01-28T09:30:00.000Z','color':'red','size':1,'share':0.5,"
              "'owner':{'name':'root'},'owners':[{'name':'root'}],'tags':{'name':'text'},'more':null}");
}

static const struct shape tree_shape[] = {
        S_STRING("name"),
        S_LIST  ("children", S_ITEM_OF(SHAPE_OBJECT, tree_shape)),
        S_END
};
/* clang-format on */

/* An example has an end, even of what contains itself. */
static void test_trees(void **state)
{
        json_t *example = example_of_shape(tree_shape);
        const json_t *node = example;
        unsigned depth = 0;

        (void)state;
        while (json_array_size(json_object_get(node, "children")) > 0) {
                node = json_array_get(json_object_get(node, "children"), 0);
                depth++;
        }
        assert_in_range(depth, 1, 16);
        json_decref(example);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_strings),
                cmocka_unit_test(test_enums),
                cmocka_unit_test(test_numbers),
                cmocka_unit_test(test_collections),
                cmocka_unit_test(test_objects_of_fields),
                cmocka_unit_test(test_shapes),
                cmocka_unit_test(test_trees),
        };

        return cmocka_run_group_tests_name("schema", tests, NULL, NULL);
}
