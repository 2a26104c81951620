/* Decoded values compared; see value.h. */
#include "core/value.h"

#include "util/decimal.h"
#include <math.h>
#include <string.h>

bool value_number(const struct value *value, double *ret_number)
{
    switch (value->kind) {
    case VALUE_BOOL: *ret_number = value->b; return true;
    case VALUE_UINT: *ret_number = (double)value->u; return true;
    case VALUE_INT: *ret_number = (double)value->i; return true;
    case VALUE_DECIMAL:
        *ret_number = decimal_to_double((struct decimal){value->i, value->decimals});
        return true;
    case VALUE_FLOAT: *ret_number = value->d; return true;
    case VALUE_ABSENT:
    case VALUE_NULL:
    case VALUE_STRING:
    case VALUE_BYTES:
    case VALUE_TIME:
    case VALUE_ARRAY:
    case VALUE_LIST: break;
    }
    return false;
}

static bool is_whole(const struct value *value)
{
    return value->kind == VALUE_UINT || value->kind == VALUE_INT;
}

bool value_equal(const struct value *a, const struct value *b)
{
    double x, y;

    if (is_whole(a) && is_whole(b))
        return (a->kind == VALUE_INT && a->i < 0) == (b->kind == VALUE_INT && b->i < 0) &&
               a->u == b->u; /* the same 64 bits */
    /* two decimals of the same value are the same double, however they are written */
    if (value_number(a, &x) && value_number(b, &y))
        return x == y;
    if (a->kind != b->kind)
        return false;
    if (a->kind == VALUE_STRING || a->kind == VALUE_BYTES || a->kind == VALUE_ARRAY)
        return a->s.length == b->s.length &&
               (!a->s.length || memcmp(a->s.data, b->s.data, a->s.length) == 0);
    if (a->kind == VALUE_TIME)
        return a->t.year == b->t.year && a->t.month == b->t.month && a->t.day == b->t.day &&
               a->t.hour == b->t.hour && a->t.minute == b->t.minute && a->t.second == b->t.second;
    return a->kind == VALUE_ABSENT || a->kind == VALUE_NULL;
}

bool value_near(const struct value *a, const struct value *b, double within)
{
    double x, y;

    /* 20.1 - 20 is a little more than 0.1 in doubles */
    return value_equal(a, b) ||
           (value_number(a, &x) && value_number(b, &y) && fabs(x - y) <= within * (1 + 1e-9));
}
