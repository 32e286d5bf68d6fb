package mountpoint

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/process"
)

// Mount is one line of a process's mount table (proc_pid_mountinfo(5)). Its texts are
// gone when the next line is read.
type Mount struct {
	ID           int
	Major, Minor int
	Root, Point  Text
	Options      Text // of the mount
	Optional     Text // its peer groups
	FSType       Text
	Super        Text // the options of the file system
}

// ReadOnly tells whether nothing can be written by the mount, whatever can be by others
// of the same tree. The kernel tells that first.
func (m *Mount) ReadOnly() bool { return bytes.HasPrefix(m.Options, []byte("ro")) }

// Text is a field of a line, as it stands there: white space and backslashes are
// three octal digits each after a backslash.
type Text []byte

// unescape returns the byte that begins t, and the rest.
func (t Text) unescape() (byte, Text) {
	octal := func(c byte) bool { return '0' <= c && c <= '7' }
	if len(t) >= 4 && t[0] == '\\' && octal(t[1]) && octal(t[2]) && octal(t[3]) && t[1] <= '3' {
		return t[1]<<6 | t[2]&7<<3 | t[3]&7, t[4:]
	}
	return t[0], t[1:]
}

// Is tells whether t means s.
func (t Text) Is(s string) bool {
	rest, ok := t.cut(s)
	return ok && len(rest) == 0
}

// Within tells whether t is the directory dir or below it.
func (t Text) Within(dir string) bool {
	rest, ok := t.cut(strings.TrimSuffix(dir, "/"))
	return ok && (len(rest) == 0 || rest[0] == '/')
}

// cut returns what follows s, with which t begins.
func (t Text) cut(s string) (rest Text, ok bool) {
	for ; s != ""; s = s[1:] {
		if len(t) == 0 {
			return nil, false
		}
		var c byte
		if c, t = t.unescape(); c != s[0] {
			return nil, false
		}
	}
	return t, true
}

// String is what t means.
func (t Text) String() string {
	s := make([]byte, 0, len(t))
	for len(t) > 0 {
		var c byte
		c, t = t.unescape()
		s = append(s, c)
	}
	return string(s)
}

// A line mostly has some hundred bytes. A container can make endless ones, of mount points
// that no path leads to: of those a field is cut off after maxField, which is more than a
// path of PATH_MAX, all escapes.
const (
	bufferSize = 4 << 10
	maxField   = 20 << 10
)

// Each calls visit for one mount after the other that process pid sees, or with 0
// this thread, until visit returns false. There may be 100,000 of them, with paths of
// a hostile container's choice: none is kept.
func Each(pid int, visit func(*Mount) bool) error {
	name := "/proc/thread-self/mountinfo"
	if pid != 0 {
		name = process.Path(pid, "mountinfo")
	}
	f, err := open.File(name, unix.O_RDONLY, 0)
	if errors.Is(err, unix.EINVAL) { // it is ending, and has no mounts any more
		return fmt.Errorf("process %d: %w", pid, process.ErrGone)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return each(&parts{from: f, size: 1 << 10}, visit)
}

func each(r io.Reader, visit func(*Mount) bool) error {
	lines := bufio.NewReaderSize(r, bufferSize)
	var m Mount
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			line, err = cutLongFields(line, lines)
		}
		if len(line) > 0 {
			if err := m.parse(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
				return err
			}
			if !visit(&m) {
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("mount table: %w", err)
		}
	}
}

// parts reads little first, and then ever more: the kernel writes the table while it is
// read, and what is looked for is mostly near its beginning.
type parts struct {
	from io.Reader
	size int
}

func (p *parts) Read(to []byte) (int, error) {
	n, err := p.from.Read(to[:min(len(to), p.size)])
	p.size = min(2*p.size, bufferSize)
	return n, err
}

// cutLongFields returns the line that begins with part, with each field cut off that is
// longer than maxField.
func cutLongFields(part []byte, lines *bufio.Reader) (line []byte, err error) {
	field := 0
	for err = bufio.ErrBufferFull; ; part, err = lines.ReadSlice('\n') {
		for _, c := range part {
			if field++; c == ' ' {
				field = 0
			}
			if field <= maxField || c == '\n' {
				line = append(line, c)
			}
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// parse reads
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func (m *Mount) parse(line []byte) error {
	front, back, ok := bytes.Cut(line, []byte(" - "))
	var id, parent, device, root, point, source []byte
	for _, field := range []*[]byte{&id, &parent, &device, &root, &point} {
		*field, front, _ = bytes.Cut(front, []byte(" "))
	}
	m.Options, m.Optional, _ = bytes.Cut(front, []byte(" "))
	m.Root, m.Point = root, point
	m.FSType, source, _ = bytes.Cut(back, []byte(" "))
	_, m.Super, _ = bytes.Cut(source, []byte(" "))
	major, minor, _ := bytes.Cut(device, []byte(":"))
	if !ok || len(point) == 0 || !number(id, &m.ID) || !number(major, &m.Major) || !number(minor, &m.Minor) {
		return fmt.Errorf("mount table: unknown line %.200q", line)
	}
	return nil
}

// number reads digits. strconv makes a string for each.
func number(digits []byte, to *int) bool {
	*to = 0
	for _, c := range digits {
		if c < '0' || c > '9' || *to > math.MaxInt32 {
			return false
		}
		*to = *to*10 + int(c-'0')
	}
	return len(digits) > 0
}
