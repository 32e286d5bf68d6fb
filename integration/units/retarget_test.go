package units

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
)

// Each command makes a device what its link leads to by now: each of two records by one
// link can be removed, and takes nothing of the other's.
func TestEachDeviceOfALinkThatLedToAnotherCanBeRemoved(t *testing.T) {
	first, second := plug(t), plug(t)
	may := func(h *fakeContainer, p *plugged) bool {
		return strings.Contains(h.allowed(t), fmt.Sprintf("b 7:%d rwm", p.minor))
	}
	for _, c := range []struct {
		name  string
		order []string
	}{
		{"the older one first", []string{"/dev/a", "/dev/b"}},
		{"the newer one first", []string{"/dev/b", "/dev/a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			link := filepath.Join(t.TempDir(), "link")
			must(t, os.Symlink("/dev/"+first.name, link))
			h := hold(t, nil, pivoted)
			b := inBundle(t, h, "")
			if o := b.tool(t, "add-device", h.id, link+":/dev/a"); o.code != 0 {
				t.Fatalf("add-device: %d, %s", o.code, o.said)
			}
			must(t, os.Remove(link))
			must(t, os.Symlink("/dev/"+second.name, link))
			if o := b.tool(t, "add-device", h.id, link+":/dev/b"); o.code != 1 || !strings.Contains(o.said, "already added") {
				t.Errorf("by the same link: %d, %q, want it refused", o.code, o.said)
			}
			// By another path it is added, and recorded as an edit by hand has it.
			if o := b.tool(t, "add-device", h.id, "/dev/"+second.name+":/dev/b"); o.code != 0 {
				t.Fatalf("add-device: %d, %s", o.code, o.said)
			}
			file := filepath.Join(b.dir, config.Name)
			write(t, file, strings.Replace(read(t, file), `"PathOnHost":"/dev/`+second.name+`"`, `"PathOnHost":"`+link+`"`, 1))

			left := []string{"/dev/a", "/dev/b"}
			for _, path := range c.order {
				if o := b.tool(t, "remove-device", h.id, link+":"+path); o.code != 0 {
					t.Errorf("remove-device %s: %d, %s", path, o.code, o.said)
				}
				gone(t, h.root+path)
				left = without(left, path)
				if was, is := may(h, first), may(h, second); was || is != (len(left) > 0) {
					t.Errorf("without %s it may use the first: %v, the second: %v, has %v", path, was, is, left)
				}
			}
			doc, err := config.Load(b.dir)
			must(t, err)
			if list, err := config.List[devices.Device](doc, config.Devices); err != nil || len(list) != 0 {
				t.Errorf("recorded are %v, %v", list, err)
			}
		})
	}
}

func without(list []string, word string) (rest []string) {
	for _, w := range list {
		if w != word {
			rest = append(rest, w)
		}
	}
	return rest
}
