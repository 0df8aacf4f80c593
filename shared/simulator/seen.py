"""A set of 64-bit hashes that costs some 16 to 32 bytes a member, where Python's own set costs about a hundred."""

from array import array

_SHARD_BITS = 6
_FIRST_SLOTS = 64
_MASK = (1 << 64) - 1


class SeenSet:
    """Open addressing in flat arrays. Shards grow one by one, so no call pauses for long.

    Two members share a hash with a chance of about n²/2⁶⁵: some 3 in 100 million at a million members.
    """

    def __init__(self) -> None:
        self._shards = [array("Q", bytes(8 * _FIRST_SLOTS)) for _ in range(1 << _SHARD_BITS)]
        self._members = [0] * (1 << _SHARD_BITS)

    def __len__(self) -> int:
        return sum(self._members)

    def add(self, member: int) -> bool:
        """Add a hash of any sign; False when it was there."""
        key = member & _MASK or 1  # 0 marks a free slot
        number = key >> (64 - _SHARD_BITS)
        shard = self._shards[number]
        slot = _slot_of(shard, key)
        if shard[slot]:
            return False
        shard[slot] = key
        self._members[number] += 1
        if self._members[number] * 3 > len(shard) * 2:
            self._shards[number] = _grown(shard)
        return True

    def __contains__(self, member: int) -> bool:
        key = member & _MASK or 1
        shard = self._shards[key >> (64 - _SHARD_BITS)]
        return shard[_slot_of(shard, key)] != 0


def _slot_of(shard: "array[int]", key: int) -> int:
    """Where the key is, or the free slot where it belongs."""
    mask = len(shard) - 1
    slot = key & mask
    while (held := shard[slot]) and held != key:
        slot = (slot + 1) & mask
    return slot


def _grown(shard: "array[int]") -> "array[int]":
    larger = array("Q", bytes(16 * len(shard)))
    for key in shard:
        if key:
            larger[_slot_of(larger, key)] = key
    return larger
