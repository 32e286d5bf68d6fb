package systemd

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestOnlyWhatAUnitLacksIsAdded(t *testing.T) {
	t.Parallel()
	have := []entry{{"/dev/block/8:0", "r"}, {"char-*", "m"}, {"/dev/char/1:3", "rwm"}}
	for _, c := range []struct {
		name  string
		allow []Device
		want  []entry
	}{
		{"nothing", nil, nil},
		{"another device", []Device{{"c", 10, 229, "rw"}}, []entry{{"/dev/char/10:229", "rw"}}},
		{"what it has", []Device{{"c", 1, 3, "rwm"}, {"b", 8, 0, "r"}}, nil},
		{"part of what it has", []Device{{"c", 1, 3, "w"}}, nil},
		{"the same in another order", []Device{{"c", 1, 3, "mwr"}}, nil},
		{"more of what it has", []Device{{"b", 8, 0, "w"}}, []entry{{"/dev/block/8:0", "rw"}}},
		{"the other type of the same numbers", []Device{{"c", 8, 0, "r"}}, []entry{{"/dev/char/8:0", "r"}}},
		{"one device twice", []Device{{"b", 7, 1, "r"}, {"b", 7, 1, "r"}}, []entry{{"/dev/block/7:1", "r"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := missingEntries(have, c.allow); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
		})
	}
}

func TestWhatIsSetOfAUnit(t *testing.T) {
	t.Parallel()
	have := []entry{{"/dev/block/8:0", "r"}, {"/dev/char/1:3", "rwm"}}
	disk, null := Device{"b", 8, 0, "rwm"}, Device{"c", 1, 3, "rwm"}
	for _, c := range []struct {
		name, policy  string
		have          []entry
		allow, forget []Device
		want          [][]entry
	}{
		{"no unit", "", nil, []Device{disk}, nil, nil},
		{"a unit that may use all", "auto", nil, []Device{disk}, []Device{null}, nil},
		{"a unit that may use none", "strict", nil, []Device{null}, nil, [][]entry{{{"/dev/char/1:3", "rwm"}}}},
		{"nothing", "strict", have, nil, nil, nil},
		{"more", "auto", have, []Device{disk}, nil, [][]entry{{{"/dev/block/8:0", "rwm"}}}},
		{"less", "strict", have, nil, []Device{disk}, [][]entry{{}, {{"/dev/char/1:3", "rwm"}}}},
		{"less of what it has not", "strict", have, nil, []Device{{"b", 8, 1, "r"}}, nil},
		{"nothing left", "strict", have, nil, []Device{disk, null}, [][]entry{{}, {}}},
		{"nothing left, which would be all", "auto", have, nil, []Device{disk, null}, nil},
		{"other permissions", "closed", have, []Device{{"b", 8, 0, "w"}}, []Device{disk}, [][]entry{{}, {{"/dev/char/1:3", "rwm"}, {"/dev/block/8:0", "w"}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got [][]entry
			for _, p := range policyChanges(c.policy, c.have, c.allow, c.forget) {
				if p.Name != "DeviceAllow" || p.Value.Signature().String() != "a(ss)" {
					t.Errorf("%s: %v", c.name, p)
				}
				got = append(got, p.Value.Value().([]entry))
			}
			if !slices.EqualFunc(got, c.want, slices.Equal) {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
		})
	}
	if len(have) != 2 || have[0].Path != "/dev/block/8:0" {
		t.Errorf("changed what it was given: %v", have)
	}
}

func TestWhatAUnitLacksIsNamed(t *testing.T) {
	t.Parallel()
	have := []entry{{"/dev/block/8:0", "r"}, {"/dev/char/1:3", "rwm"}}
	for _, c := range []struct {
		name, policy string
		have         []entry
		devices      []Device
		want         []string // nil: it is left alone
	}{
		{"no unit", "", nil, []Device{{"b", 8, 0, "r"}}, nil},
		{"a unit that may use all", "auto", nil, []Device{{"b", 8, 0, "r"}}, nil},
		{"nothing", "strict", have, []Device{{"b", 8, 0, "r"}, {"c", 1, 3, "rw"}}, []string{}},
		{"a device", "strict", have, []Device{{"b", 8, 1, "r"}}, []string{"/dev/block/8:1 r"}},
		{"a permission", "auto", have, []Device{{"b", 8, 0, "w"}}, []string{"/dev/block/8:0 rw"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := missingNames(c.policy, c.have, c.devices); !slices.Equal(got, c.want) || (got == nil) != (c.want == nil) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestTheInterfaceIsThatOfTheUnitsType(t *testing.T) {
	t.Parallel()
	for unit, want := range map[string]string{
		"runc-abc.scope":       "org.freedesktop.systemd1.Scope",
		"x@a.b.service":        "org.freedesktop.systemd1.Service",
		"noext":                "org.freedesktop.systemd1.Unit",
		"isulad-a.b.c.d.scope": "org.freedesktop.systemd1.Scope",
	} {
		t.Run(unit, func(t *testing.T) {
			if got := unitInterface(unit); got != want {
				t.Errorf("%s: %s, want %s", unit, got, want)
			}
		})
	}
}

// The library that speaks D-Bus looks at no context before it knows the other
// side.
func TestOneWhoSaysNothingIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "silent")
	silent, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	conn, err := dial(ctx, socket)
	if err == nil {
		conn.Close()
		t.Fatal("connected to one who said nothing")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("waited %v: %v", took, err)
	}
}
