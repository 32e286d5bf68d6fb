package scenario

import (
	"cmp"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

// swappers put links into a folder of the host that the container may not change, and to
// other files of the host, in the place of what is being made, as fast as a container's
// root can: below its root, /s, and in a folder of the host that it may write, /own.
const swappers = `
mkdir -p /s
( while :; do mv /s /q && ln -s /g /s; rm -f /s; mv /q /s; mkdir -p /s; done ) &
( while :; do for n in new file node; do rmdir /s/$n; rm -f /s/$n; ln -s /g/d /s/$n; rm -f /s/$n; ln -s /g/f /s/$n; rm -f /s/$n; done; done ) &
( while :; do if rmdir /own/new; then ln -s VICTIM/d /own/new; rm -f /own/new; ln -s VICTIM/f /own/new; rm -f /own/new; fi; done ) &
( while :; do mv /own/sub /own/bus && ln -s VICTIM /own/sub; rm -f /own/sub; mv /own/bus /own/sub; mkdir -p /own/sub; done ) &
`

// TestAgainstSwappers makes nodes, files, folders and mount points while the container
// swaps them: no tree of the host changes, and none comes into the container.
func TestAgainstSwappers(t *testing.T) {
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv("RACE_ROUNDS"), strconv.Itoa(raceRounds)))
	check(t, err)
	install(t)
	sandbox.Udevadm(t, "true")
	for _, k := range []kind{{real: true, mapped: true}, {mapped: true}, {real: true}} {
		t.Run(strings.ReplaceAll(k.name(), " ", "-"), func(t *testing.T) {
			b := newBox(t, k, id)
			hosts, victim, own, data := b.folder(0), b.folder(0), b.folder(b.rootUID()), b.folder(b.rootUID())
			access := ":rw"
			if !k.mapped {
				access = ":ro" // else its root may do anything there
			}
			sameHosts, sameVictim := b.staysAsItIs(hosts), b.staysAsItIs(victim)
			b.record(recorded{Binds: []string{hosts + ":/g" + access, own + ":/own:rw"}})
			check(t, b.start())
			t.Cleanup(func() { b.stop() })
			if _, err := b.sh("(" + strings.ReplaceAll(swappers, "VICTIM", victim) + ") >/dev/null 2>&1 </dev/null & sleep 0.1"); err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct{ add, take []string }{
				{[]string{"add-path", NAME, data + ":/s/new"}, []string{"remove-path", NAME, data + ":/s/new"}},
				{[]string{"add-path", NAME, data + "/f:/s/file"}, []string{"remove-path", NAME, data + "/f:/s/file"}},
				{[]string{"add-path", NAME, data + "/d:/s/new/deeper"}, []string{"remove-path", NAME, data + "/d:/s/new/deeper"}},
				{[]string{"add-device", "--force", NAME, "/dev/fuse:/s/node:rw"}, []string{"remove-device", NAME, "/dev/fuse:/s/node"}},
				{[]string{"add-path", NAME, own + "/new:/x"}, []string{"remove-path", NAME, own + "/new:/x"}},
				{[]string{"add-path", NAME, own + "/sub/new:/x"}, []string{"remove-path", NAME, own + "/sub/new:/x"}},
			} {
				given := 0
				for range rounds {
					if _, err := b.quietly(c.add); err == nil {
						given++
					}
					if seen := b.mountedFrom(victim); len(seen) > 0 {
						t.Fatalf("%q: the container has %s", c.add, seen[0])
					}
					for try := 0; try < 20; try++ {
						if _, err := b.quietly(c.take); err == nil || strings.Contains(err.Error(), "not added by") || strings.Contains(err.Error(), "not exist in") {
							break
						}
					}
				}
				t.Logf("%s %s: given %d times", c.add[0], filepath.Base(c.add[len(c.add)-1]), given)
				sameHosts(strings.Join(c.add, " "))
				sameVictim(strings.Join(c.add, " "))
			}
		})
	}
}
