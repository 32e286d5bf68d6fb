package udev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/container/engines"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/command"
)

// inspectWait is what isulad gets to answer. It does not while it starts or
// stops the very container; what happens to its disks then, the start finds out.
const inspectWait = 3 * time.Second

// findContainer returns the container that a rule means: by its start record, which needs
// no lock and no daemon, else in iSulad's files, else by asking isulad.
// fs.ErrNotExist: it does not run, and nobody tells where its records are.
func findContainer(ctx context.Context, id string) (container.Container, error) {
	found, err := byStartRecord(id)
	if !errors.Is(err, fs.ErrNotExist) || !maybeIsulads(id) {
		return found, err
	}
	if known, err := engines.OfISulad(ctx, id); err == nil && container.WordMeans(id, known.ID) {
		return known, nil
	}
	client, err := command.LookPath("isula")
	if err != nil {
		return found, err
	}
	found, err = engines.Client{Path: client, Wait: inspectWait}.Find(ctx, id)
	if err == nil && !container.WordMeans(id, found.ID) {
		err = fmt.Errorf("isulad answers for %s with container %s", id, found.ID)
	}
	if err == nil {
		return found, nil
	}
	// It may have been started while we asked, which is why there was no answer.
	if now, e := byStartRecord(id); !errors.Is(e, fs.ErrNotExist) {
		return now, e
	}
	return found, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
}

// maybeIsulads tells whether a word in a rule may mean a container of isulad's: its
// ids are hexadecimal digits. Another it would take for a name, or an option.
func maybeIsulads(word string) bool { return strings.Trim(word, "0123456789abcdef") == "" }

// byStartRecord is a container that has a start record. What that says of its process
// is read again under the lock.
func byStartRecord(id string) (container.Container, error) {
	full, start, err := container.FindStart(id)
	if err == nil && !isDir(start.Bundle) {
		err = fmt.Errorf("%s: %w", start.Bundle, fs.ErrNotExist) // and nobody told us
	}
	return container.Container{ID: full, Dir: start.Bundle}, err
}

// removeRulesOfGone removes the rules of a container that isulad does not have any more.
// While isulad does not answer, nobody knows.
func (h *helper) removeRulesOfGone(ctx context.Context, id string) error {
	gone, err := h.isRemoved(ctx, id)
	if !gone || err != nil {
		return err
	}
	changed, err := devices.SyncRules(ctx, h.generation, id, nil, eventLockWait)
	if changed {
		h.log.WithField("id", id).Info("the container was removed, and so are its udev rules")
		err = errors.Join(err, devices.ReloadRules(ctx))
	}
	return err
}

// graphKey is in front of isulad's root directory in what `isula info` prints.
const graphKey = "iSulad Root Dir: "

// isRemoved tells whether isulad is there, and has no container of this id: then it
// has no state directory of it. isulad cannot be asked about the container itself,
// it may be busy with it. Of a container that has a start record, that says where
// its directory was.
func (h *helper) isRemoved(ctx context.Context, id string) (bool, error) {
	if _, start, err := container.FindStart(id); err == nil {
		return !start.Init.Lives() && !isDir(start.Bundle), nil
	}
	client, err := command.LookPath("isula")
	if err != nil || !maybeIsulads(id) {
		return false, nil // other engines' containers lose their rules when they stop
	}
	ctx, cancel := context.WithTimeout(ctx, inspectWait)
	defer cancel()
	out, err := command.Cmd{Path: client, Args: []string{"info"}}.Run(ctx)
	if err != nil {
		return false, nil
	}
	for line := range strings.Lines(string(out.Stdout)) {
		graph, ok := strings.CutPrefix(strings.TrimSpace(line), graphKey)
		if !ok || !filepath.IsAbs(graph) {
			continue
		}
		if strings.ContainsAny(graph, `*?[\`) {
			return false, fmt.Errorf("%s%q: not a plain path", graphKey, graph)
		}
		states, err := filepath.Glob(filepath.Join(graph, "engines", "*", id+"*"))
		has := slices.ContainsFunc(states, func(dir string) bool { return container.WordMeans(id, filepath.Base(dir)) })
		return err == nil && !has && isDir(filepath.Join(graph, "engines")), err
	}
	return false, nil
}

// respawn serves the event in a transient unit of systemd: udevd's own service
// may not mount anything, and kills what outlives an event.
func (h *helper) respawn(ctx context.Context, ev event) error {
	run, err := command.LookPath("systemd-run")
	if err != nil {
		return err
	}
	args := slices.Concat([]string{
		"--no-block", "--collect", "--quiet", "--description=" + h.generation.Helper + " " + ev.action + " " + ev.name, "--",
	}, devices.Helper(h.generation), []string{direct}, ev.args())
	_, err = command.Cmd{Path: run, Args: args}.Run(ctx)
	return err
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
