package systemd

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// systemd reads 256 bytes at a time until it knows who we are, and looks at what is left
// of them only when more comes. However short the unit's name, the first call is answered.
func TestTheFirstCallDoesNotLieUnreadWithSystemd(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "private")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, unit := range []string{"a.scope", strings.Repeat("a", 200) + ".scope"} {
		served := make(chan error, 1)
		go func() { served <- serveOne(l) }()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		conn, err := dialPrivate(ctx, socket)
		if err != nil {
			t.Fatal(err)
		}
		if err := call(ctx, conn, managerAt, manager+".GetUnit", unit).Err; err != nil {
			t.Errorf("%.20s: %v", unit, err)
		}
		conn.Close()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// serveOne answers one connection as systemd's sd-bus does.
func serveOne(l net.Listener) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	var got []byte
	more := func() error {
		time.Sleep(20 * time.Millisecond) // what follows is there, too
		part := make([]byte, 256)
		n, err := c.Read(part)
		got = append(got, part[:n]...)
		return err
	}
	for {
		line, rest, ok := bytes.Cut(got, []byte("\r\n"))
		if !ok {
			if err := more(); err != nil {
				return err
			}
			continue
		}
		got = rest
		answer := ""
		switch words := strings.Fields(strings.TrimLeft(string(line), "\x00")); {
		case words[0] == "AUTH" && len(words) == 1:
			answer = "REJECTED EXTERNAL"
		case words[0] == "AUTH":
			answer = "OK 0123456789abcdef0123456789abcdef"
		case words[0] == "NEGOTIATE_UNIX_FD":
			answer = "AGREE_UNIX_FD"
		case words[0] == "BEGIN":
			if err := more(); err != nil { // not before does it look at the rest
				return err
			}
			return answerCalls(c, io.MultiReader(bytes.NewReader(got), c))
		}
		if _, err := io.WriteString(c, answer+"\r\n"); err != nil {
			return err
		}
	}
}

// answerCalls answers the first call that wants an answer.
func answerCalls(c net.Conn, in io.Reader) error {
	for {
		m, err := dbus.DecodeMessage(in)
		if err != nil {
			return err
		}
		if m.Flags&dbus.FlagNoReplyExpected != 0 {
			continue
		}
		reply := dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldReplySerial: dbus.MakeVariant(m.Serial()),
		}}
		return reply.EncodeTo(c, binary.LittleEndian)
	}
}
