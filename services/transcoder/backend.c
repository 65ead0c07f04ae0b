#include "services/transcoder/backend.h"

#include <gst/gst.h>
#include <string.h>

bool backend_has_element(const char *element)
{
    GstElementFactory *factory = gst_element_factory_find(element);

    if (factory)
        gst_object_unref(factory);
    return factory != NULL;
}

const struct backend *backend_choose(const char *name)
{
    static const struct backend *const backends[] = {&backend_nvidia, &backend_cpu};

    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        if ((strcmp(name, "auto") == 0 || strcmp(name, backends[i]->name) == 0) && backends[i]->is_available())
            return backends[i];
    return NULL;
}
