package netspace

import (
	"encoding/binary"
	"errors"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Side is one namespace, by a socket that was opened in it. Its errors are the
// kernel's.
type Side struct {
	sockets map[int]*nl.SocketHandle
}

// Here is the namespace of the calling thread.
func Here() (*Side, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE) // to nothing
	if err != nil {
		return nil, err
	}
	return &Side{map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}}, nil
}

// Close closes the socket.
func (s *Side) Close() {
	for _, socket := range s.sockets {
		socket.Close()
	}
}

// request is one message to the kernel.
type request struct{ *nl.NetlinkRequest }

func (s *Side) request(kind, flags int, header nl.NetlinkRequestData) request {
	r := nl.NewNetlinkRequest(kind, flags)
	r.Sockets = s.sockets
	r.AddData(header)
	return request{r}
}

func (r request) text(attribute int, value string) {
	r.AddData(nl.NewRtAttr(attribute, nl.ZeroTerminated(value)))
}

func (r request) number(attribute, value int) {
	r.AddData(nl.NewRtAttr(attribute, nl.Uint32Attr(uint32(value))))
}

func (r request) bytes(attribute int, value []byte) {
	if value != nil {
		r.AddData(nl.NewRtAttr(attribute, value))
	}
}

// ask returns the answers of one kind.
func (r request) ask(kind uint16) ([][]byte, error) {
	for range 3 {
		answers, err := r.Execute(unix.NETLINK_ROUTE, kind)
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			return answers, err
		}
	}
	return nil, unix.EAGAIN // the list changes faster than it can be read
}

// do asks for no answer but whether it is done.
func (r request) do() error {
	_, err := r.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// attributes are those of an answer, behind its header.
func attributes(answer []byte, header int, each func(kind uint16, value []byte)) error {
	if len(answer) < header {
		return unix.EBADMSG
	}
	list, err := nl.ParseRouteAttr(answer[header:])
	for _, a := range list {
		each(a.Attr.Type&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), a.Value)
	}
	return err
}

// uint32Of is a number in an answer.
func uint32Of(value []byte) int {
	if len(value) < 4 {
		return 0
	}
	return int(int32(binary.NativeEndian.Uint32(value)))
}

// numberOf is the number by which this namespace knows another one; -1 for none.
func (s *Side) numberOf(ns int) (int, error) {
	r := s.request(unix.RTM_GETNSID, 0, nl.NewRtGenMsg())
	const netnsaNSID, netnsaFD = 1, 3
	r.number(netnsaFD, ns)
	answers, err := r.ask(unix.RTM_NEWNSID)
	number := -1
	for _, a := range answers {
		err = attributes(a, nl.NewRtGenMsg().Len(), func(kind uint16, value []byte) {
			if kind == netnsaNSID {
				number = uint32Of(value)
			}
		})
	}
	return number, err
}
