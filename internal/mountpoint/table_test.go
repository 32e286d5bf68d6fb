package mountpoint

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// shown is a mount as a test compares it.
func shown(m *Mount) string {
	if len(m.Root) > 100 || len(m.Point) > 100 {
		return fmt.Sprintf("%d of %d and %d bytes, %s %s", m.ID, len(m.Root), len(m.Point), m.Optional, m.Super)
	}
	how := ""
	if m.ReadOnly() {
		how = "read-only "
	}
	return fmt.Sprintf("%d %d:%d %q %q %s%s %s %s", m.ID, m.Major, m.Minor, m.Root, m.Point, how, m.Optional, m.FSType, m.Super)
}

func TestATableIsReadLineByLine(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(`\012`, 20_000)
	for _, c := range []struct {
		name, table string
		want        []string
		fails       bool
	}{
		{"none", "", nil, false},
		{"as proc_pid_mountinfo(5) has one", "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n", []string{`36 98:0 "/mnt1" "/mnt2" master:1 ext3 rw,errors=continue`}, false},
		{"read-only", "1 0 0:2 / /a ro,noatime - tmpfs tmpfs rw\n2 0 0:2 / /b rw - tmpfs tmpfs ro\n", []string{`1 0:2 "/" "/a" read-only  tmpfs rw`, `2 0:2 "/" "/b"  tmpfs ro`}, false},
		{"no optional field", "1 0 0:2 / / rw - tmpfs tmpfs rw\n", []string{`1 0:2 "/" "/"  tmpfs rw`}, false},
		{"more optional fields", "1 0 0:2 / / rw shared:1 master:2 propagate_from:3 - tmpfs tmpfs rw\n", []string{`1 0:2 "/" "/" shared:1 master:2 propagate_from:3 tmpfs rw`}, false},
		{"escapes", `1 0 0:2 /a\040b\134040 /c\011\012d rw - tmpfs x\040y rw` + "\n", []string{`1 0:2 "/a b\\040" "/c\t\nd"  tmpfs rw`}, false},
		{"no source", "1 0 0:2 / / rw - tmpfs  rw\n", []string{`1 0:2 "/" "/"  tmpfs rw`}, false},
		{"no newline at the end", "1 0 0:2 / / rw - tmpfs a rw", []string{`1 0:2 "/" "/"  tmpfs rw`}, false},
		{"a line that is too long", "1 0 0:2 / / rw - a a rw\n2 0 0:2 / /" + long + " rw master:7 - a a rw\n3 0 0:2 / / rw - a a rw\n", []string{`1 0:2 "/" "/"  a rw`, "2 of 1 and 20480 bytes, master:7 rw", `3 0:2 "/" "/"  a rw`}, false},
		{"one at the end", "1 0 0:2 / / rw - a a rw\n2 0 0:2 " + long + long + " / rw - a a rw\n", []string{`1 0:2 "/" "/"  a rw`, "2 of 20480 and 1 bytes,  rw"}, false},
		{"another text", "hello\n", nil, true},
		{"no numbers", "1 0 0,2 / / rw - tmpfs a rw\n", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			err := each(iotest.OneByteReader(strings.NewReader(c.table)), func(m *Mount) bool { got = append(got, shown(m)); return true })
			if !slices.Equal(got, c.want) || (err != nil) != c.fails {
				t.Errorf("%q, %v; want %q, an error %v", got, err, c.want, c.fails)
			}
		})
	}
}

func TestATextIsWhatItMeans(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"", ""}, {"/a", "/a"}, {`/a\040b`, "/a b"}, {`\134`, `\`}, {`\1`, `\1`}, {`\999`, `\999`}, {`\777`, `\777`}, {`\134040`, `\040`},
	} {
		t.Run(c.text, func(t *testing.T) {
			if got := Text(c.text).String(); got != c.want {
				t.Errorf("%q: %q, want %q", c.text, got, c.want)
			}
			for _, other := range []string{c.want, c.want + "x", "x" + c.want, strings.TrimSuffix(c.want, "b")} { // none of them with a slash at its end
				if got := Text(c.text).Is(other); got != (other == c.want) {
					t.Errorf("%q is %q: %v", c.text, other, got)
				}
				if got := Text(c.text + "/x").Within(other); got != (other == c.want) {
					t.Errorf("%q is in %q: %v", c.text+"/x", other, got)
				}
			}
		})
	}
}

func TestATableIsReadAsFarAsIsWanted(t *testing.T) {
	t.Parallel()
	broken := io.MultiReader(strings.NewReader("1 0 0:2 / / rw - a a rw\n2 0 0:2 / / rw - a a rw\n"), iotest.ErrReader(os.ErrClosed))
	n := 0
	if err := each(broken, func(*Mount) bool { n++; return false }); n != 1 || err != nil {
		t.Errorf("%d lines, %v; want one", n, err)
	}
	if err := each(iotest.ErrReader(os.ErrClosed), nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v, want that it cannot be read", err)
	}
}

func TestTheRootIsInTheTable(t *testing.T) {
	t.Parallel()
	for _, pid := range []int{0, os.Getpid()} {
		found := false
		if err := Each(pid, func(m *Mount) bool { found = found || m.Point.Is("/"); return true }); err != nil || !found {
			t.Errorf("%d: %v, found %v", pid, err, found)
		}
	}
	if err := Each(1<<30, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nobody: %v", err)
	}
}

func TestALineCostsNoMemory(t *testing.T) {
	table := strings.Repeat("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n", 10_000)
	read := func(table string) float64 {
		return testing.AllocsPerRun(5, func() {
			_ = each(strings.NewReader(table), func(m *Mount) bool { return !m.Point.Is("/mnt3") })
		})
	}
	one, all := read(table[:len(table)/10_000]), read(table)
	if all > one+100 {
		t.Errorf("%v allocations for a line, %v for 10,000", one, all)
	}
}

func FuzzTable(f *testing.F) {
	f.Add("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n")
	f.Add(`1 0 0:2 /a\040b /c\011 rw - tmpfs  rw`)
	f.Fuzz(func(t *testing.T, table string) {
		_ = each(strings.NewReader(table), func(m *Mount) bool {
			for _, text := range []Text{m.Root, m.Point, m.FSType, m.Super} {
				if s := text.String(); !text.Is(s) {
					t.Errorf("%q is not %q", []byte(text), s)
				}
			}
			return true
		})
	})
}
