package devices

import (
	"testing"
)

func TestPartitionsBelongToTheirDiskAlone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		partition, disk string
		want            bool
	}{
		{"sda1", "sda", true},
		{"sda10", "sda", true},
		{"nvme0n1p2", "nvme0n1", true},
		{"loop1p1", "loop1", true},
		{"mmcblk0p12", "mmcblk0", true},
		// KERNEL=="sda*" and KERNEL=="loop1*" match these too.
		{"sdaa1", "sda", false},
		{"sdaa", "sda", false},
		{"loop10p1", "loop1", false},
		{"nvme0n10p1", "nvme0n1", false},
		{"sda", "sda", false},
		{"sdap", "sda", false},
		{"sdapp1", "sda", false},
		{"sda1p", "sda", false},
		{"sda1 ", "sda", false},
		{"sda1\n", "sda", false},
		{"sda-1", "sda", false},
		{"sda+1", "sda", false},
		{"sda1.5", "sda", false},
		{"sda١", "sda", false}, // a digit, but not the kernel's
		{"sdb1", "sda", false},
		{"1", "", false},
		{"", "", false},
		{"cciss/c0d0p1", "cciss/c0d0", true},
		{"cciss/c0d10p1", "cciss/c0d1", false},
	} {
		t.Run(c.partition, func(t *testing.T) {
			if got := IsPartition(c.partition, c.disk); got != c.want {
				t.Errorf("%q of %q: %v, want %v", c.partition, c.disk, got, c.want)
			}
		})
	}
}
