// Package terminal is the way of everything that a person reads, on standard
// output and standard error. It knows nothing of what is said.
package terminal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/open"
)

// Writer writes text to a terminal, or to what stands for one. Names in the text
// may be a container's choice: what a terminal could act on is escaped, but for
// the ends of lines and tabs. Nobody may read any more: then Write fails, and
// nothing else does. An os.File would end the program by SIGPIPE, in the middle of
// its work.
type Writer struct{ file *os.File }

// NewWriter returns a writer to f.
func NewWriter(f *os.File) Writer { return Writer{f} }

// Write implements io.Writer. The text of one call is whole characters.
func (w Writer) Write(text []byte) (int, error) {
	if err := w.put([]byte(command.Text(string(text)))); err != nil {
		return 0, err
	}
	return len(text), nil
}

// Warn is Write in a colour, where there are any: on a terminal whose user did not say
// otherwise (no-color.org).
func (w Writer) Warn(text string) error {
	if _, err := unix.IoctlGetTermios(int(w.file.Fd()), unix.TCGETS); err != nil || os.Getenv("NO_COLOR") != "" {
		_, err := w.Write([]byte(text))
		return err
	}
	return w.put([]byte("\x1b[31m" + command.Text(text) + "\x1b[0m"))
}

// put writes text as it is.
func (w Writer) put(rest []byte) error {
	fd := int(w.file.Fd())
	for len(rest) > 0 {
		n, err := open.Retry(func() (int, error) { return unix.Write(fd, rest) })
		switch {
		case errors.Is(err, unix.EAGAIN): // whoever started us made it non-blocking
			// An interrupted poll has seen nothing.
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
		case err != nil:
			return &os.PathError{Op: "write", Path: w.file.Name(), Err: err}
		default:
			rest = rest[n:]
		}
	}
	return nil
}
