/* dlopen(3); see paho.h. Both may be loaded at once, after a reload that changed the address: each
 * is kept to itself (RTLD_LOCAL), for they have the same names. Never unloaded: their threads stay.
 */
#include "mqtt/paho.h"

#include "util/log.h"
#include <dlfcn.h>
#include <string.h>

#define PLAIN "libpaho-mqtt3a.so.1"
#define TLS   "libpaho-mqtt3as.so.1"

static int find(void *library, const char *name, void *function, size_t size)
{
    void *address = dlsym(library, name);

    if (!address || size != sizeof(address)) {
        log_error("mqtt", "Paho has no %s", name);
        return -ELIBACC;
    }
    memcpy(function, &address, size); /* as dlsym(3) wants a pointer to a function to be made */
    return 0;
}

int paho_load(bool tls, struct paho *ret_paho)
{
    void *library = dlopen(tls ? TLS : PLAIN, RTLD_NOW | RTLD_LOCAL);
    struct paho paho;
    int r = 0;

    if (!library) {
        log_error("mqtt", "%s", dlerror());
        return -ELIBACC;
    }
#define PAHO_FIND(name) \
    if (r == 0)         \
        r = find(library, #name, &paho.name, sizeof(paho.name));
    PAHO_FUNCTIONS(PAHO_FIND)
#undef PAHO_FIND
    if (r == 0)
        *ret_paho = paho;
    return r;
}
