"""The descriptor pool that holds Quadriga's messages; runs in the server and in clients.

tritonclient, kserve and mlserver register files of their own under the same proto package, `inference`, in protobuf's
default pool, and a pool refuses a second definition of a name. A pool of our own lets all of them live in one process.
"""

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
