/* btsnoop files; see radio_trace.h. The format: fte.com's "BTSnoop file format", big endian. */
#include "radio_trace.h"

#include "util/bytes.h"

#define DATALINK_H4     1002
#define YEAR_0_TO_1970  0x00dcddb30f2f8000 /* in microseconds */
#define FLAG_RECEIVED   1u                 /* controller to host */
#define FLAG_NOT_DATA   2u                 /* a command or an event */
#define H4_TYPE_COMMAND 0x01
#define H4_TYPE_EVENT   0x04

int trace_open(const char *path, FILE **ret_file)
{
    uint8_t header[16] = "btsnoop";
    FILE *file = fopen(path, "we");
    if (!file)
        return -errno;
    put_be(header + 8, 1, 4); /* version */
    put_be(header + 12, DATALINK_H4, 4);
    fwrite(header, sizeof(header), 1, file);
    *ret_file = file;
    return 0;
}

void trace_packet(FILE *trace, int64_t real_us, bool from_host, const uint8_t *packet,
                  size_t length)
{
    uint8_t record[24];
    if (!trace || length == 0)
        return;
    uint32_t flags = from_host ? 0 : FLAG_RECEIVED;
    if (packet[0] == H4_TYPE_COMMAND || packet[0] == H4_TYPE_EVENT)
        flags |= FLAG_NOT_DATA;
    put_be(record, length, 4);
    put_be(record + 4, length, 4);
    put_be(record + 8, flags, 4);
    put_be(record + 12, 0, 4); /* none dropped */
    put_be(record + 16, (uint64_t)real_us + YEAR_0_TO_1970, 8);
    fwrite(record, sizeof(record), 1, trace);
    fwrite(packet, length, 1, trace);
    fflush(trace);
}
