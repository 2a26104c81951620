/* The keys of a field that say where it is, how often, and what computes it. Must not know other
 * fields. */
#include "config/reader.h"
#include "config/readers.h"
#include "config/suggest.h"
#include "core/schema.h"
#include <stdlib.h>
#include <string.h>

/* a plain word, "" where there is none */
static const char *word_of(const struct yaml_node *node)
{
    return node->kind == YAML_KIND_SCALAR ? node->text : "";
}

/* an integer from min to max that stands there; false: something else, which is no error yet */
static bool is_number_within(const struct yaml_node *node, int64_t min, int64_t max,
                             int64_t *ret_value)
{
    return yaml_node_is_int(node, ret_value) && *ret_value >= min && *ret_value <= max;
}

void read_field_offset(struct reader *reader, const struct key *key, const struct yaml_node *node,
                       void *target)
{
    struct field_spec *spec = target;
    int64_t offset;

    if (strcmp(word_of(node), "same") == 0)
        spec->offset = FIELD_OFFSET_SAME;
    else if (!yaml_node_is_int(node, &offset))
        reader_wrong(reader, key, node, key->form);
    else if (reader_int(reader, key->name, node, 0, 511, &offset))
        spec->offset = (size_t)offset;
}

void read_field_length(struct reader *reader, const struct key *key, const struct yaml_node *node,
                       void *target)
{
    struct field_spec *spec = target;
    int64_t length;

    if (strcmp(word_of(node), "rest") == 0)
        spec->compute = FIELD_COMPUTE_LENGTH_REST;
    else if (strcmp(word_of(node), "all") == 0)
        spec->compute = FIELD_COMPUTE_LENGTH_ALL;
    else if (!yaml_node_is_int(node, &length))
        reader_wrong(reader, key, node, key->form);
    else if (reader_int(reader, key->name, node, 1, 512, &length))
        spec->length = (size_t)length;
}

void read_when_equals(struct reader *reader, const struct key *key, const struct yaml_node *node,
                      void *target)
{
    struct field_spec *spec = target;
    bool yes;

    if (yaml_node_is_int(node, &spec->when.equals))
        return;
    if (yaml_node_is_bool(node, &yes))
        spec->when.equals = yes;
    else if (yaml_node_string(node) && *node->text)
        spec->when.equals_name = reader_copy(reader, node->text);
    else
        reader_wrong(reader, key, node, key->form);
}

void read_repeat_count(struct reader *reader, const struct key *key, const struct yaml_node *node,
                       void *target)
{
    struct field_spec *spec = target;
    int64_t times;

    if (is_number_within(node, 1, 512, &times)) {
        spec->repeat = FIELD_REPEAT_TIMES;
        spec->repeat_times = (size_t)times;
    } else if (!yaml_node_is_int(node, &times) && yaml_node_string(node) && *node->text) {
        spec->repeat = FIELD_REPEAT_FIELD;
        spec->repeat_field = reader_copy(reader, node->text);
    } else {
        reader_wrong(reader, key, node, key->form);
    }
}

void read_repeat_rest(struct reader *reader, const struct key *key, const struct yaml_node *node,
                      void *target)
{
    struct field_spec *spec = target;
    bool yes;

    if (yaml_node_is_bool(node, &yes) && yes)
        spec->repeat = FIELD_REPEAT_REST;
    else
        reader_wrong(reader, key, node, key->form);
}

void read_repeat_fields(struct reader *reader, const struct key *key, const struct yaml_node *node,
                        void *target)
{
    /* read when the rest of the field is known */
    if (node->kind != YAML_KIND_MAPPING || !node->n_items)
        reader_wrong(reader, key, node, key->form);
}

void read_field_repeat(struct reader *reader, const struct key *key, const struct yaml_node *node,
                       void *target)
{
    struct field_spec *spec = target;

    if (node->kind == YAML_KIND_MAPPING) {
        reader_section(reader, key, node, node, target);
        if (!reader->partial && !yaml_node_get(node, "count") == !yaml_node_get(node, "rest"))
            reader_error(reader, node, "'repeat' needs one of 'count' and 'rest'");
    } else if (strcmp(word_of(node), "rest") == 0) {
        spec->repeat = FIELD_REPEAT_REST;
    } else {
        read_repeat_count(reader, key, node, target);
    }
}

void read_checksum_type(struct reader *reader, const struct key *key, const struct yaml_node *node,
                        void *target)
{
    struct field_spec *spec = target;
    struct suggestion suggestion = suggestion_for(word_of(node));

    spec->compute = FIELD_COMPUTE_CHECKSUM;
    if (checksum_parse(word_of(node), &spec->checksum))
        return;
    for (unsigned i = 0; i < CHECKSUM_TYPES; i++)
        suggestion_offer(&suggestion, checksum_name((enum checksum_type)i));
    const char *best = node->kind == YAML_KIND_SCALAR ? suggestion_best(&suggestion) : NULL;
    if (best)
        reader_error(reader, node, "there is no checksum '%s'; did you mean '%s'?", word_of(node),
                     best);
    else
        reader_wrong(reader, key, node, key->form);
}

void read_field_checksum(struct reader *reader, const struct key *key, const struct yaml_node *node,
                         void *target)
{
    if (node->kind == YAML_KIND_MAPPING)
        reader_section(reader, key, node, node, target);
    else
        read_checksum_type(reader, key, node, target);
}

void read_field_counter(struct reader *reader, const struct key *key, const struct yaml_node *node,
                        void *target)
{
    bool yes;

    if (yaml_node_is_bool(node, &yes) && yes)
        ((struct field_spec *)target)->compute = FIELD_COMPUTE_COUNTER;
    else
        reader_wrong(reader, key, node, key->form);
}

void read_field_now(struct reader *reader, const struct key *key, const struct yaml_node *node,
                    void *target)
{
    if (strcmp(word_of(node), "now") == 0)
        ((struct field_spec *)target)->compute = FIELD_COMPUTE_NOW;
    else
        reader_wrong(reader, key, node, key->form);
}
