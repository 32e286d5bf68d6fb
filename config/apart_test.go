package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// chosen is a record that knows where it is kept.
type chosen struct {
	Name   string `json:"name"`
	Select string `json:",omitempty"`
}

func TestWhatIsWrongInEitherPartIsNamedByItsKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ content, want string }{
		{`{"deviceToAdd":[{},{"name":1}],"selectedDevices":[{}]}`, "deviceToAdd[1].name: "},
		{`{"deviceToAdd":[{}],"selectedDevices":[{},{"name":1}]}`, "selectedDevices[1].name: "},
		{`{"selectedDevices":[null]}`, "selectedDevices[0]: null"},
	} {
		t.Run(c.want, func(t *testing.T) {
			t.Parallel()
			if _, err := List[chosen](load(t, write(t, c.content)), Devices); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it says %v, want %s", err, c.want)
			}
		})
	}
}

func TestOneListIsKeptUnderTwoKeys(t *testing.T) {
	t.Parallel()
	const first, second = `{"name":"a","x":1}`, `{"name":"s","Select":"u","y":2}`
	for _, c := range []struct {
		name, before string
		change       func(*Document) error
		want         []chosen
		after        string
	}{
		{"both are read", `{"deviceToAdd":[` + first + `],"selectedDevices":[` + second + `]}`, nil, []chosen{{"a", ""}, {"s", "u"}}, ""},
		{"the second alone is read", `{"selectedDevices":[` + second + `]}`, nil, []chosen{{"s", "u"}}, ""},
		{
			"each is written where it belongs", `{"deviceToAdd":[` + first + `],"selectedDevices":[` + second + `]}`,
			func(d *Document) error {
				return Put(d, Devices, []chosen{{"t", "v"}, {"a", ""}, {"s", "u"}, {"b", ""}})
			},
			[]chosen{{"a", ""}, {"b", ""}, {"t", "v"}, {"s", "u"}},
			`{"deviceToAdd":[` + first + `,{"name":"b"}],"selectedDevices":[{"name":"t","Select":"v"},` + second + `]}` + "\n",
		},
		{
			"the last of the second part goes", `{"deviceToAdd":[` + first + `],"selectedDevices":[` + second + `]}`,
			func(d *Document) error { return Put(d, Devices, []chosen{{"a", ""}}) },
			[]chosen{{"a", ""}},
			`{"deviceToAdd":[` + first + `]}` + "\n",
		},
		{
			"a record is replaced in its part", `{"deviceToAdd":[` + first + `],"selectedDevices":[` + second + `]}`,
			func(d *Document) error { return Replace(d, Devices, map[int]chosen{0: {"b", ""}, 1: {"t", "u"}}) },
			[]chosen{{"b", ""}, {"t", "u"}},
			`{"deviceToAdd":[{"name":"b","x":1}],"selectedDevices":[{"name":"t","Select":"u","y":2}]}` + "\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, c.before)
			d := load(t, dir)
			if !d.Has(Devices) {
				t.Error("it has none")
			}
			if c.change != nil {
				if err := c.change(d); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if got, err := List[chosen](d, Devices); err != nil || !slices.Equal(got, c.want) {
					t.Errorf("got %v, %v, want %v", got, err, c.want)
				}
			}
			if err := d.Save(); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, Name)); c.after != "" && (err != nil || string(got) != c.after) {
				t.Errorf("written is %s, %v, want %s", got, err, c.after)
			}
		})
	}
}
