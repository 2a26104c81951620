/* What Home Assistant makes of a device, in lines; see check_entities.h. The documents say it: they
 * are written and read again. */
#include "cli/check_entities.h"

#include "core/discovery.h"
#include "util/cleanup.h"
#include <jansson.h>
#include <string.h>

static void print_entity(struct strbuf *out, const char *before, const json_t *component,
                         const struct device_settings *device)
{
    const char *name = json_string_value(json_object_get(component, "name"));
    const char *platform = json_string_value(json_object_get(component, "platform"));

    strbuf_printf(out, "%s%-14s %s\n", before, platform ? platform : "?",
                  name           ? name
                  : device->name ? device->name
                                 : device->id);
}

void check_print_entities(struct strbuf *out, const struct settings *settings,
                          const struct device_settings *device)
{
    _cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT;
    const struct discovery_about about = {.settings = settings, .device = device, .version = ""};
    const char *before = "  entities      ", *id;
    json_t *component;

    if (!discovery_is_on(settings))
        return;
    discovery_write_device(&text, &about, NULL, 0);
    _cleanup_(json_decrefp) json_t *document = json_loads(strbuf_str(&text), 0, NULL);
    json_object_foreach(json_object_get(document, "components"), id, component)
    {
        if (strncmp(id, "status_", 7) == 0)
            continue; /* every device has those */
        print_entity(out, before, component, device);
        before = "                ";
    }
    if (text.length > DISCOVERY_MAX_BYTES && settings->home_assistant.discovery == DISCOVERY_DEVICE)
        strbuf_puts(out, "                too much for one document: Home Assistant gets none\n");
}
