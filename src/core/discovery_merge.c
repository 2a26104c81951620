/* What the file wants otherwise in a document, laid over what it would be. Must not know keys. */
#include "core/discovery_part.h"

#include "util/cleanup.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* takes nothing; true if it could */
static bool merge(json_t *base, json_t *over)
{
    const char *key;
    json_t *item;
    bool ok = true;

    json_object_foreach(over, key, item)
    {
        json_t *own = json_object_get(base, key);
        if (json_is_null(item))
            json_object_del(base, key); /* it need not be there */
        else if (json_is_object(item) && json_is_object(own))
            ok &= merge(own, item);
        else
            ok &= json_object_set(base, key, item) == 0;
    }
    return ok;
}

void discovery_merge(struct json_writer *w, size_t start, const char *over_text)
{
    if (!over_text || !strbuf_ok(w->out))
        return;
    _cleanup_(json_decrefp) json_t *base =
        json_loadb(w->out->data + start, w->out->length - start, 0, NULL);
    _cleanup_(json_decrefp) json_t *over = json_loads(over_text, 0, NULL);
    char *text = base && over && merge(base, over)
                     ? json_dumps(base, JSON_COMPACT | JSON_REAL_PRECISION(15))
                     : NULL;
    if (!text) {
        w->out->failed = true; /* out of memory: the JSON is our own */
        return;
    }
    strbuf_truncate(w->out, start);
    strbuf_puts(w->out, text);
    free(text);
}
