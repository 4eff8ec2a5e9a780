"""Bucket: a home on object storage, s3:// or gs://, that every node works on in a copy of its own.

::

    address    s3://lab/home is the folder ~/.cache/raybrain/buckets/s3=lab=home of each node, and the other way round
    objects    what a bucket can do: read, write, and write on condition that nobody else did so
    copies     what a node writes is published before it appears here; what others wrote is fetched
    lease      one owner at a time, among all nodes

What is true is in the bucket; a copy may be deleted while nothing runs. Below the address lie the folders of a home, each with
a manifest ``files.json`` that names the objects which hold its files. An object is never changed: a file that is written anew
is another object, and exists from the moment at which the manifest names it. So an upload that is cut off is never seen, and
nothing depends on what a listing shows. Memory maps, locks, downloaded studies and databases stay on the node.
"""
