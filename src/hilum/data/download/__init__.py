"""A set from its hub.

licences   terms, shown and accepted once
fetch      download, verify, unpack; a broken one goes on
"""
