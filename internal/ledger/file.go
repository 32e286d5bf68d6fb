package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/atomicfile"
	"isula.org/isulad-tools/internal/mountpoint"
	"isula.org/isulad-tools/internal/open"
)

// write appends a line, after the first one of a start.
func (l *Ledger) write(now line) error {
	if err := l.open(); err != nil {
		return err
	}
	if now.Intents != nil && !l.began { // what is over needs no start
		l.began = true
		if err := l.write(line{Start: &l.start}); err != nil {
			return err
		}
	}
	text, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("%s: %w", l.path, err)
	}
	text = append(text, '\n')
	n, err := open.Retry(func() (int, error) { return unix.Write(int(l.file.Fd()), text) })
	if err == nil && n < len(text) {
		err = unix.ENOSPC
	}
	if err != nil {
		// What was written of the line must not become the beginning of another.
		if n > 0 {
			err = errors.Join(err, l.truncate())
		}
		return &os.PathError{Op: "write", Path: l.path, Err: err}
	}
	l.intent = intent{from: l.size}
	for _, g := range now.Intents {
		l.intent.numbers = append(l.intent.numbers, g.Number)
	}
	l.size += n
	l.grants = append(l.grants, now.Intents...)
	return nil
}

func (l *Ledger) truncate() error {
	err := open.Again(func() error { return unix.Ftruncate(int(l.file.Fd()), int64(l.size)) })
	return os.NewSyscallError("ftruncate", err)
}

// open opens the file to append to it. One that has become long is written anew.
func (l *Ledger) open() (err error) {
	if l.file != nil {
		return nil
	}
	if l.size == 0 {
		err = makeDir(filepath.Dir(l.path))
	} else if l.size > longEnough {
		err = l.renew()
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

// renew writes the file anew, without what is over.
func (l *Ledger) renew() error {
	var lines, now []line
	for _, g := range l.grants {
		to := &now
		if g.before {
			to = &lines
		}
		if n := len(*to); n == 0 || !bytes.Equal((*to)[n-1].Had, g.Had) {
			*to = append(*to, line{Had: g.Had})
		}
		last := &(*to)[len(*to)-1]
		last.Intents = append(last.Intents, g)
	}
	lines = append(append(lines, line{Start: &l.start}), now...)
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	for _, next := range lines {
		if err := to.Encode(next); err != nil {
			return err
		}
	}
	l.size, l.began = text.Len(), true
	return atomicfile.Write(filepath.Dir(l.path), filepath.Base(l.path), text.Bytes(), 0o600)
}
