package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/atomicfile"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/open"
)

// intend writes lines of intent, after the first one of a start and of what the
// container had before.
func (l *Ledger) intend(kind string, had func(json.RawMessage) any, added []*Grant) (err error) {
	was := intent{began: l.began, had: maps.Clone(l.had)}
	var text []byte
	if !l.began {
		l.start.ask()
		text = appendStart(text, l.start)
		l.had = nil
	}
	before := l.had[kind]
	if had != nil {
		if now := had(before); now != nil {
			if before, err = json.Marshal(now); err != nil {
				return fmt.Errorf("%s: %w", l.path, err)
			}
			text = appendLine(text, verbHad, kind, before)
		}
	}
	for _, g := range added {
		g.Had = before
		text = appendGrant(text, g)
	}
	if err := l.write(text); err != nil {
		return err
	}
	if l.had == nil {
		l.had = map[string]json.RawMessage{}
	}
	l.began, l.had[kind] = true, before
	l.grants = append(l.grants, added...)
	l.intent, l.intent.size = was, l.size-len(text)
	for _, g := range added {
		l.intent.numbers = append(l.intent.numbers, g.Number)
	}
	return nil
}

// write appends lines.
func (l *Ledger) write(text []byte) error {
	if err := l.open(); err != nil {
		return err
	}
	n, err := open.Retry(func() (int, error) { return unix.Write(int(l.file.Fd()), text) })
	if err == nil && n < len(text) {
		err = unix.ENOSPC
	}
	if err != nil {
		// What was written of the lines must not become the beginning of another.
		if n > 0 {
			err = errors.Join(err, l.truncate())
		}
		return &os.PathError{Op: "write", Path: l.path, Err: err}
	}
	l.intent = intent{}
	l.size += n
	return nil
}

func (l *Ledger) truncate() error {
	err := open.Again(func() error { return unix.Ftruncate(int(l.file.Fd()), int64(l.size)) })
	return os.NewSyscallError("ftruncate", err)
}

// open opens the file to append to it. A file that has become long is written anew.
func (l *Ledger) open() (err error) {
	if l.file != nil {
		return nil
	}
	if l.size == 0 {
		err = makeDir(filepath.Dir(l.path))
	} else if l.size > longEnough {
		err = l.compact()
	}
	if err != nil {
		return err
	}
	l.file, err = open.File(l.path, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if l.torn {
		if err := l.truncate(); err != nil {
			return err
		}
		l.torn = false
	}
	if l.end {
		if err := open.WriteTo(l.file, "\n"); err != nil {
			return err
		}
	}
	return nil
}

func makeDir(dir string) error {
	if err := mountpoint.Mkdir(filepath.Dir(dir), 0o644); err != nil {
		return err
	}
	return mountpoint.Mkdir(dir, 0o700)
}

// compact writes the file anew, without what is over.
func (l *Ledger) compact() (err error) {
	text := appendGrants(nil, l.grants, true, nil)
	if l.began {
		text = appendStart(text, l.start)
	}
	text = appendGrants(text, l.grants, false, l.had)
	l.size = len(text)
	return atomicfile.Write(filepath.Dir(l.path), filepath.Base(l.path), text, 0o600)
}
