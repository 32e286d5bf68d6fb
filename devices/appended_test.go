package devices

import "testing"

func TestWhatTheKernelAppendsIsTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, suffix string
		want         bool
	}{
		{"/dev/sda1", "1", true},
		{"/dev/sda11", "11", true},
		{"/dev/sdp1", "1", true},
		{"/dev/loop4p1", "p1", true},
		{"/dev/nvme0n1p12", "p12", true},
		// v0.9's names: the last character.
		{"/dev/sda11", "1", false},
		{"/dev/loop4p1", "1", false},
		{"/dev/nvme0n1p12", "2", false},
		{"/dev/sda1", "2", false},
		{"1", "1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := appended(c.name, c.suffix); got != c.want {
				t.Errorf("%s, %s: %v", c.name, c.suffix, got)
			}
		})
	}
}
