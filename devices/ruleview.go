package devices

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/resource"
)

// Rules is how many lines the files of udev rules have for a disk.
type Rules string

func (r Rules) String() string { return string(r) }

// RuleViews looks at the udev rules of container id, whose disks these are. A container has
// them in the file of one generation.
func RuleViews(id string, disks []Disk) ([]resource.View, error) {
	var has []string // lines of the container, of any generation
	for _, g := range place.Generations {
		lines, err := linesOf(g, id)
		if err != nil {
			return nil, err
		}
		has = append(has, lines...)
	}
	var views []resource.View
	for _, d := range disks {
		v := resource.View{Name: d.Path}
		if lines := d.linesAmong(id, has); lines != nil {
			has = slices.DeleteFunc(has, func(l string) bool { return slices.Contains(lines, l) })
			v.Real = Rules(strings.Join(lines, "\n"))
		} else {
			v.Differ("udev rule missing", "udevd is not told of the partitions of the disk at %s", d.Path)
		}
		views = append(views, v)
	}
	if len(has) > 0 && !slices.ContainsFunc(views, func(v resource.View) bool { return v.Differences != nil }) {
		v := resource.View{Name: "rules", Real: Rules(strings.Join(has, "\n"))}
		v.Differ("udev rule left", "udevd is told of disks that the container does not have")
		views = append(views, v)
	}
	return views, nil
}

// linesAmong are the disk's lines, as a generation writes them, if all are among those that
// the container has; nil: they are not.
func (d Disk) linesAmong(id string, has []string) []string {
	for _, g := range place.Generations {
		want := ruleLines(g, id, d)
		if !slices.ContainsFunc(want, func(l string) bool { return !slices.Contains(has, l) }) {
			return want
		}
	}
	return nil
}

// linesOf are the lines of a generation's file for container id.
func linesOf(g place.Generation, id string) ([]string, error) {
	text, err := open.Read(rulesPath(g), maxRules)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []string
	for line := range bytes.Lines(text) {
		if bytes.Contains(line, oursIn(id)) {
			list = append(list, strings.TrimSuffix(string(line), "\n"))
		}
	}
	return list, err
}

func rulesPath(g place.Generation) string { return filepath.Join(rulesDir, "99-"+g.Tool+".rules") }

// oursIn is in each line of container id.
func oursIn(id string) []byte {
	return []byte("_wrapper $env{ACTION} " + place.Short(id) + " $name ")
}

// RuleOwners are the words for containers in a generation's udev rules, each once.
func RuleOwners(g place.Generation) (words []string, err error) {
	text, err := open.Read(rulesPath(g), maxRules)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for line := range bytes.Lines(text) {
		_, rest, ok := bytes.Cut(line, []byte("_wrapper $env{ACTION} "))
		word, _, more := bytes.Cut(rest, []byte(" $name "))
		if ok && more && !slices.Contains(words, string(word)) {
			words = append(words, string(word))
		}
	}
	return words, err
}
