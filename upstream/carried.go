package upstream

import "net"

// Counted is c, and tells carried of the bytes that it reads and writes, see
// [Hooks]. Nil counts nothing.
func Counted(c net.Conn, carried func(bytes int)) net.Conn {
	if carried == nil {
		return c
	}
	return &counted{c, carried}
}

type counted struct {
	net.Conn
	carried func(bytes int)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.carried(n)
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.carried(n)
	return n, err
}
