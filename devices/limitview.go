package devices

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/resource"
)

// maxLimits bounds what is read of a file of limits: a line a disk.
const maxLimits = 1 << 20

// Value is a limit as the kernel has it.
type Value string

func (v Value) String() string { return string(v) }

// LimitViews looks at the recorded limits of a running container, kind being one of
// LimitKinds.
func LimitViews(t *resource.Target, kind *resource.Kind[Limit], records []Limit) (views []resource.View, err error) {
	for _, l := range limits {
		if l.key != kind.Key || len(records) == 0 {
			continue
		}
		path, text, err := l.text(t)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			v := resource.View{Name: r.Path, Recorded: r}
			l.view(filepath.Base(path), text, r, &v)
			views = append(views, v)
		}
	}
	return views, nil
}

// text is the control file and what is in it; "": there is none.
func (k limit) text(t *resource.Target) (path, text string, err error) {
	path, _, err = k.file(t)
	if k.weight && errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	data, err := open.Read(path, maxLimits)
	return path, string(data), err
}

func (k limit) view(file, text string, r Limit, v *resource.View) {
	now, renewed, err := resolveLimit(r)
	switch {
	case errors.Is(err, errVanished):
		if !r.Optional {
			v.DifferForGood("device missing on the host", "the host has no %s", r.Path)
		}
		return
	case err != nil:
		v.DifferForGood("record refused", "%v", err)
		return
	case file == "": // a start goes on without weights
		return
	case renewed:
		v.Differ("other number", "the limit of %s is for %d:%d now, recorded is %d:%d", r.Path, now.Major, now.Minor, r.Major, r.Minor)
	}
	have := k.find(text, now)
	if have != "" {
		v.Real = Value(have)
	}
	want := now.Value
	switch {
	case have == want, want == "0" && have == "":
	case have == "" && k.weight && !now.hasWeights():
	case have == "":
		v.Differ("limit missing", "the container's cgroup has no %s for %s, should have %s", k.name, r.Path, want)
	default:
		v.Differ("other limit", "the container's cgroup has %s as the %s for %s, should have %s", have, k.name, r.Path, want)
	}
}

// find is the value that a control file has for the limit's device; "": none.
func (k limit) find(text string, l Limit) string {
	device := fmt.Sprintf("%d:%d", l.Major, l.Minor)
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != device {
			continue
		}
		for _, f := range fields[1:] {
			value, ours := f, true
			if len(fields) > 2 || strings.Contains(f, "=") {
				value, ours = strings.CutPrefix(f, k.v2key)
			}
			if ours && value != "max" {
				return value
			}
		}
	}
	return ""
}

// hasWeights tells whether the disk's present I/O scheduler has weights.
func (l Limit) hasWeights() bool {
	list := l.schedulers()
	return strings.Contains(list, "[cfq]") || strings.Contains(list, "[bfq]")
}
