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

// Rules is how many lines the files of udev rules have for a device.
type Rules string

func (r Rules) String() string { return string(r) }

// RuleViews looks at the udev rules of container id, whose followed devices these are. A container has
// them in the file of one generation.
func RuleViews(id string, list []Followed) ([]resource.View, error) {
	var has []string // lines of the container, of any generation
	for _, g := range place.Generations {
		err := eachRule(g, func(line, word string) {
			if word == place.Short(id) {
				has = append(has, line)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	var views []resource.View
	for _, d := range list {
		v := resource.View{Name: d.Path}
		if lines := d.linesAmong(id, has); lines != nil {
			has = slices.DeleteFunc(has, func(l string) bool { return slices.Contains(lines, l) })
			v.Real = Rules(strings.Join(lines, "\n"))
		} else {
			v.Differ("udev rule missing", "udevd has no rule for the device at %s: the container keeps it when it goes, and lacks it when it comes", d.Path)
		}
		views = append(views, v)
	}
	if len(has) > 0 && !slices.ContainsFunc(views, func(v resource.View) bool { return v.Differences != nil }) {
		v := resource.View{Name: "rules", Real: Rules(strings.Join(has, "\n"))}
		v.Differ("udev rule left", "udevd has rules for devices that the container does not have")
		views = append(views, v)
	}
	return views, nil
}

// linesAmong are the device's lines, as a generation writes them, if all are among those
// that the container has; nil: they are not. One that is away keeps its lines of before.
func (f Followed) linesAmong(id string, has []string) []string {
	if f.Away {
		return linesOf([]byte(strings.Join(has, "\n")), id, f.Path)
	}
	for _, g := range place.Generations {
		want := ruleLines(g, id, f)
		if !slices.ContainsFunc(want, func(l string) bool { return !slices.Contains(has, l) }) {
			return want
		}
	}
	return nil
}

// eachRule calls f with each line of a generation's file, and the word for its container.
func eachRule(g place.Generation, f func(line, word string)) error {
	text, err := open.Read(rulesPath(g), maxRules)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for line := range bytes.Lines(text) {
		run, rest, ours := bytes.Cut(line, []byte(" $env{ACTION} "))
		word, _, more := bytes.Cut(rest, []byte(" $name "))
		if ours && more && (bytes.HasSuffix(run, []byte("_wrapper")) || bytes.HasSuffix(run, []byte(" "+asHelper))) {
			f(strings.TrimSuffix(string(line), "\n"), string(word))
		}
	}
	return err
}

func rulesPath(g place.Generation) string { return filepath.Join(rulesDir, "99-"+g.Tool+".rules") }

// RuleOwners are the words for containers in a generation's udev rules, each once.
func RuleOwners(g place.Generation) (words []string, err error) {
	err = eachRule(g, func(_, word string) {
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	})
	return words, err
}
