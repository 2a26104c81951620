"""What the gateway is compared with: the script that a competent user would write, with Debian's
python3-bleak and python3-paho-mqtt. Values as hex in JSON, no configuration, no reconnecting.

bleak_pipe.py PORT QOS ADDRESS...
"""

import asyncio
import sys

import paho.mqtt.client as paho
from bleak import BleakClient, BleakScanner

VALUE = "be9c0002-8d20-4b5a-9a6e-0c0ffee00000"


async def find(addresses):
    found = {}
    all_found = asyncio.Event()

    def seen(device, _advertisement):
        if device.address in addresses:
            found[device.address] = device
            if len(found) == len(addresses):
                all_found.set()

    async with BleakScanner(detection_callback=seen):
        await all_found.wait()
    return [found[address] for address in addresses]


async def main(port, qos, addresses):
    broker = paho.Client("bench-bleak")
    broker.max_inflight_messages_set(20)
    broker.connect("127.0.0.1", port)
    broker.loop_start()
    clients = []

    def publisher(address):
        topic = f"gatt2mqtt/{address.replace(':', '_')}/value"

        def publish(_characteristic, data):
            broker.publish(topic, '{"value":"%s"}' % data.hex(), qos=qos, retain=True)
        return publish

    for device in await find(addresses):
        client = BleakClient(device)
        await client.connect()
        await client.start_notify(VALUE, publisher(device.address))
        clients.append(client)
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
