package devices

import (
	"strings"
	"testing"
)

func TestASelectorIsOfStrictForm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"usb:0403:6001", "usb:0403:6001"},
		{"usb:04AB:60CD:Ab_1.2-3", "usb:04ab:60cd:Ab_1.2-3"},
		{"usb:0403:6001:", ""},
		{"usb:0403:6001:a:b", ""},
		{"usb:0403:6001:a b", ""},
		{"usb:0403:6001:a\"", ""},
		{"usb:0403:6001:a*", ""},
		{"usb:0403:6001:a/b", ""},
		{"usb:0403:6001:é", ""},
		{"usb:0403:6001:" + strings.Repeat("a", 127), ""},
		{"usb:403:6001", ""},
		{"usb:0403:60011", ""},
		{"usb:0x40:6001", ""},
		{"usb:0403", ""},
		{"usb:", ""},
		{"", ""},
		{"USB:0403:6001", ""},
		{"pci:0403:6001", ""},
	} {
		t.Run(c.text, func(t *testing.T) {
			t.Parallel()
			if got, err := ParseSelector(c.text); got.Host != c.want || (err == nil) != (c.want != "") {
				t.Errorf("it is %q, %v, want %q", got.Host, err, c.want)
			}
		})
	}
}

func TestSelectorsOverlapWhereADeviceMayBeMeantByBoth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		one, other string
		want       bool
	}{
		{"usb:0403:6001", "usb:0403:6001", true},
		{"usb:0403:6001", "usb:0403:6001:A", true},
		{"usb:0403:6001:A", "usb:0403:6001", true},
		{"usb:0403:6001:A", "usb:0403:6001:AB", false},
		{"usb:0403:6001:A", "usb:0403:6001:A:1", false},
		{"usb:0403:6001", "usb:0403:6002", false},
	} {
		t.Run(c.one+" and "+c.other, func(t *testing.T) {
			t.Parallel()
			if got := (Selector{Host: c.one}).Overlaps(Selector{Host: c.other}); got != c.want {
				t.Errorf("they do: %v, want %v", got, c.want)
			}
		})
	}
}

func TestASelectorsRecordIsText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want Selector // without a host it is refused
	}{
		{"usb:0403:6001", Selector{Host: "usb:0403:6001"}},
		{"usb:0403:6001:A", Selector{Host: "usb:0403:6001:A"}},
		{"usb:0403:6001:/dev/m", Selector{Host: "usb:0403:6001", Container: "/dev/m"}},
		{"usb:0403:6001:A:/dev/m:rw", Selector{"usb:0403:6001:A", "/dev/m", "rw"}},
		{"usb:0403:6001::r", Selector{Host: "usb:0403:6001", Options: "r"}},
		{"usb:0403:6001:A::r", Selector{Host: "usb:0403:6001:A", Options: "r"}},
		{"usb:0403:6001:A:/dev/m:rw:x", Selector{}},
		{"usb:0403:6001:A:/dev/m:x", Selector{}},
		{"usb:0403:6001:A:dev/m", Selector{}},
		{"usb:0403:6001:A:/dev/$m", Selector{}},
		{"usb:0403", Selector{}},
		{"", Selector{}},
	} {
		t.Run(c.text, func(t *testing.T) {
			t.Parallel()
			var got Selector
			err := got.UnmarshalText([]byte(c.text))
			if (err == nil) != (c.want.Host != "") || err == nil && (got != c.want || got.String() != c.text) {
				t.Errorf("it is %+v, written %s, %v, want %+v", got, got, err, c.want)
			}
		})
	}
}
