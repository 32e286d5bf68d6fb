package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"isula.org/isulad-tools/internal/open"
)

const mainPackage = "isula.org/isulad-tools/cmd/isulad-tools"

const maxBinary = 1 << 30

// generations are the two sets of names under which deployments know the tool.
var generations = []struct{ tools, hooks string }{
	{"isulad-tools", "isulad-hooks"},
	{"syscontainer-tools", "syscontainer-hooks"},
}

// binaries are the six places of the one executable. Each is a copy: a symlink
// would pass iSulad's checks, but the program would find its target's name and
// folder instead of its own, and from these it tells its role (under lcr argv[0]
// may be empty) and the graph root. Hard links cannot span the three folders,
// which may lie on as many file systems, and two rules for six files are one too many.
func binaries(graph string) []string {
	var paths []string
	for _, g := range generations {
		paths = append(paths,
			"/usr/local/bin/"+g.tools,
			filepath.Join(graph, "hooks", g.hooks),
			"/lib/udev/"+g.tools+"_wrapper")
	}
	return paths
}

// spec is a file that names a hook, and the hook it names.
type spec struct {
	path, hook string
	form       form
}

// specs are a hook spec for each generation, for isula, and the files of hooks.d for
// the other engines.
func specs(graph string) []spec {
	var all []spec
	for _, g := range generations {
		all = append(all, spec{
			path: "/etc/" + g.tools + "/hookspec.json",
			hook: filepath.Join(graph, "hooks", g.hooks),
			form: forISula,
		})
	}
	for _, stage := range []string{"prestart", "poststop"} {
		all = append(all, spec{
			path: hooksD + "/" + generations[0].tools + "-" + stage + ".json",
			hook: filepath.Join(graph, "hooks", generations[0].hooks),
			form: forHooksD(stage),
		})
	}
	return all
}

// install puts the executable and then the hook specs into place, so that no
// spec ever names a hook that is not there; the rule for logs is last. One line a
// file goes to out.
func install(t *tree, askedGraph, binary string, out io.Writer) error {
	content, err := open.Read(binary, maxBinary)
	if err != nil {
		return err
	}
	if !isOurs(content) {
		return fmt.Errorf("%s is not a build of %s", binary, mainPackage)
	}
	graph, err := findGraph(t, askedGraph)
	if err != nil {
		return err
	}
	if err := mkdirs(t, graph); err != nil {
		return err
	}
	for _, path := range binaries(graph) {
		said, err := deploy(t, path, content, 0o755, isBuild(t, path))
		if err != nil {
			return fmt.Errorf("install %s: %w", t.show(path), err)
		}
		said.print(out, t.show(path))
	}
	for _, s := range specs(graph) {
		said, err := placeSpec(t, s)
		if err != nil {
			return fmt.Errorf("install %s: %w", t.show(s.path), err)
		}
		said.print(out, t.show(s.path))
	}
	said, err := placeRotation(t)
	if err != nil {
		return fmt.Errorf("install %s: %w", t.show(rotation), err)
	}
	said.print(out, t.show(rotation))
	return nil
}

func mkdirs(t *tree, graph string) error {
	type dir struct {
		path string
		mode fs.FileMode
	}
	dirs := []dir{
		{"/usr/local/bin", 0o755},
		{"/lib/udev", 0o755},
		{filepath.Dir(rotation), 0o755},
		{graph, 0o750}, // as iSulad makes it
		{filepath.Join(graph, "hooks"), 0o755},
	}
	for _, s := range specs(graph) {
		dirs = append(dirs, dir{filepath.Dir(s.path), s.form.dir})
	}
	for _, d := range dirs {
		if err := t.mkdir(d.path, d.mode); err != nil {
			return fmt.Errorf("create %s: %w", t.show(d.path), err)
		}
	}
	return nil
}

// result is what a line of output says about a file.
type result struct{ verb, note string }

func (r result) print(out io.Writer, path string) {
	fmt.Fprintf(out, "%-10s %s", r.verb, path)
	if r.note != "" {
		fmt.Fprintf(out, " (%s)", r.note)
	}
	fmt.Fprintln(out)
}

// placeSpec leaves a hook spec alone that an operator made of ours: time-outs,
// environment and further hooks survive an upgrade as long as it runs our hook.
func placeSpec(t *tree, s spec) (result, error) {
	want, err := s.form.spell(s.hook)
	if err != nil {
		return result{}, err
	}
	// What cannot be read is somebody's, and stays as a backup.
	have, err := t.read(s.path, limit)
	if err == nil && !bytes.Equal(have, want) && s.form.serves(have, s.hook) {
		return result{"kept", "edited; it runs our hook"}, nil
	}
	return deploy(t, s.path, want, s.form.mode, err == nil && s.form.writtenFor(have) != "")
}

// deploy writes content to path unless it is there. What was there and is not
// ours stays as a backup: the very file, by a hard link, so that its mode,
// owner, times and attributes survive and path is at no moment missing.
func deploy(t *tree, path string, content []byte, mode fs.FileMode, ours bool) (result, error) {
	info, err := t.lstat(path)
	if err != nil {
		return result{}, err
	}
	said := result{verb: "installed"}
	switch {
	case info == nil:
	case info.IsDir():
		return result{}, errors.New("a directory is in the way")
	case same(t, path, info, content, mode):
		return result{verb: "unchanged"}, t.discard(temporary(path))
	case ours:
		said = result{verb: "updated"}
	default:
		kept, err := backUp(t, path, info)
		if err != nil {
			return result{}, fmt.Errorf("keep the previous file: %w", err)
		}
		said.note = fmt.Sprintf("the previous file is kept as %s", filepath.Base(kept))
	}
	return said, t.write(path, bytes.NewReader(content), mode)
}

// same reports a file that needs no work. Owner and mode count: iSulad refuses
// a hook that is not root's or that others may write.
func same(t *tree, path string, info fs.FileInfo, content []byte, mode fs.FileMode) bool {
	if info.Mode() != mode || info.Size() != int64(len(content)) || !ownedByUs(info) {
		return false
	}
	have, err := t.read(path, info.Size())
	return err == nil && bytes.Equal(have, content)
}

// isBuild reports whether path is an executable of this project, of whatever version.
func isBuild(t *tree, path string) bool {
	info, err := t.lstat(path)
	if err != nil || info == nil || !info.Mode().IsRegular() {
		return false
	}
	content, err := t.read(path, maxBinary)
	return err == nil && isOurs(content)
}

// isOurs tells whether an executable is a build of this project: Go's build information
// is in it as text. Whoever looks for that has no such text.
func isOurs(executable []byte) bool {
	path := strings.Join([]string{"path", mainPackage + "\n"}, "\t")
	return bytes.HasPrefix(executable, []byte("\x7fELF")) && bytes.Contains(executable, []byte(path))
}
