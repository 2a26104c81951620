/* See properties.h. */
#include "mqtt/properties.h"

#include <stdlib.h>
#include <string.h>

static const MQTTProperty *find(const struct paho *paho, const MQTTProperties *properties,
                                enum MQTTPropertyCodes code)
{
    /* Paho's getters only read */
    return paho->MQTTProperties_getProperty((MQTTProperties *)properties, code);
}

bool properties_number(const struct paho *paho, const MQTTProperties *properties,
                       enum MQTTPropertyCodes code, uint32_t *ret_value)
{
    MQTTProperties *unconst = (MQTTProperties *)properties;

    if (!paho->MQTTProperties_hasProperty(unconst, code))
        return false;
    *ret_value = (uint32_t)paho->MQTTProperties_getNumericValue(unconst, code);
    return true;
}

void properties_server_reference(const struct paho *paho, const MQTTProperties *properties,
                                 char *text, size_t size)
{
    const MQTTProperty *property = find(paho, properties, MQTTPROPERTY_CODE_SERVER_REFERENCE);
    size_t n = 0;

    if (!property || property->value.data.len < 0)
        return;
    while (n < (size_t)property->value.data.len && n < size - 1) {
        char c = property->value.data.data[n];
        text[n++] = c > 0x20 && c < 0x7f ? c : '?';
    }
    text[n] = '\0';
}

/* a copy with a NUL, or NULL when it has one inside or there is no memory */
static char *copy_text(const MQTTLenString *text)
{
    if (text->len <= 0 || memchr(text->data, '\0', (size_t)text->len))
        return NULL;
    return strndup(text->data, (size_t)text->len);
}

char *properties_of_message(const struct paho *paho, const MQTTProperties *properties,
                            struct inbox_message *message)
{
    char *response_topic = NULL;
    const MQTTProperty *property = find(paho, properties, MQTTPROPERTY_CODE_RESPONSE_TOPIC);

    if (property)
        response_topic = copy_text(&property->value.data);
    message->response_topic = response_topic;
    property = find(paho, properties, MQTTPROPERTY_CODE_CORRELATION_DATA);
    if (property && property->value.data.len >= 0) {
        message->correlation = property->value.data.data ? property->value.data.data : "";
        message->correlation_length = (size_t)property->value.data.len;
    }
    message->has_expiry = properties_number(
        paho, properties, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL, &message->expiry_s);
    return response_topic;
}
