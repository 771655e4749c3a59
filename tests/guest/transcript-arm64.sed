# What differs in transcript.txt on Arm. There an access to a device must be aligned to its size: of others the guest makes ones. xl puts
# the disks' registers side by side: behind the first one's are the second one's. And Xen has the SILO policy, which looks at the domain that
# a port is opened for: there is none of that number.
s/^\(read version: .*\) 0$/\1 ffffffffffffffff/
s/^\(read queue size: .*\) 0$/\1 ffffffffffffffff/
s/^\(read queue ready: .*\) 0$/\1 ffffffffffffffff/
s/^\(read capacity, upper half: 0 0 0\) .*/\1 ffffffffffffffff/
s/^\(read seg_max: 7e 7e 7e\) .*/\1 ffffffffffffffff/
s/^\(read block size: 0 200 200\) .*/\1 ffffffffffffffff/
s/^read behind the device: .*/read behind the device: 0 0 74726976 0/
s/^read odd: .*/read odd: 0 ffff ffffffff ffffffffffffffff/
s/^read between two: .*/read between two: 0 0 ffffffff ffffffffffffffff/
s/^read between two, odd: .*/read between two, odd: 0 ffff ffffffff ffffffffffffffff/
s/^read between two of the configuration: .*/read between two of the configuration: 0 0 ffffffff ffffffffffffffff/
s/^another's port: .*/another's port: -3/
