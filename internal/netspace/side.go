package netspace

import (
	"encoding/binary"
	"errors"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Conn is one namespace, by a socket that was opened in it. Its errors are the
// kernel's.
type Conn struct {
	sockets map[int]*nl.SocketHandle
}

// Here is the namespace of the calling thread.
func Here() (*Conn, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE) // to nothing
	if err != nil {
		return nil, err
	}
	return &Conn{map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}}, nil
}

// Close closes the socket.
func (c *Conn) Close() {
	for _, socket := range c.sockets {
		socket.Close()
	}
}

// request is one message to the kernel.
type request struct{ *nl.NetlinkRequest }

func (c *Conn) request(kind, flags int, header nl.NetlinkRequestData) request {
	r := nl.NewNetlinkRequest(kind, flags)
	r.Sockets = c.sockets
	r.AddData(header)
	return request{r}
}

func (r request) addString(attribute int, value string) {
	r.AddData(nl.NewRtAttr(attribute, nl.ZeroTerminated(value)))
}

func (r request) addUint32(attribute, value int) {
	r.AddData(nl.NewRtAttr(attribute, nl.Uint32Attr(uint32(value))))
}

func (r request) addBytes(attribute int, value []byte) {
	if value != nil {
		r.AddData(nl.NewRtAttr(attribute, value))
	}
}

// query returns the answers of one kind.
func (r request) query(kind uint16) ([][]byte, error) {
	for range 3 {
		answers, err := r.Execute(unix.NETLINK_ROUTE, kind)
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			return answers, err
		}
	}
	return nil, unix.EAGAIN // the list changes faster than it can be read
}

// execute asks for no answer but whether it is done.
func (r request) execute() error {
	_, err := r.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// eachAttr are those of an answer, behind its header.
func eachAttr(answer []byte, header int, each func(kind uint16, value []byte)) error {
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

// nsid is the number by which this namespace knows another one; -1 for none.
func (c *Conn) nsid(ns int) (int, error) {
	r := c.request(unix.RTM_GETNSID, 0, nl.NewRtGenMsg())
	const netnsaNSID, netnsaFD = 1, 3
	r.addUint32(netnsaFD, ns)
	answers, err := r.query(unix.RTM_NEWNSID)
	number := -1
	for _, a := range answers {
		err = eachAttr(a, nl.NewRtGenMsg().Len(), func(kind uint16, value []byte) {
			if kind == netnsaNSID {
				number = uint32Of(value)
			}
		})
	}
	return number, err
}
