package main

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/telemetry"
)

// TestUnread: of a connection to the admin port it is known when its peer's buffers are
// full, and when he has read.
func TestUnread(t *testing.T) {
	conns := make(chan net.Conn)
	block := strings.Repeat("x", 64<<10)
	routes := telemetry.Routes{"GET /fill": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, out := telemetry.Conn(r), http.NewResponseController(w)
		for unread(conn) == 0 { // until he has no room
			if _, err := io.WriteString(w, block); err != nil {
				t.Error(err)
			}
			if err := out.Flush(); err != nil {
				t.Error(err)
				break
			}
			time.Sleep(20 * time.Millisecond) // what is on its way arrives
		}
		conns <- conn
		<-r.Context().Done()
	})}
	s, err := telemetry.Listen("127.0.0.1:0", func() telemetry.Status { return telemetry.Status{} }, routes, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Run(t.Context()) }()
	mine, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mine.Close() }()
	if _, err := io.WriteString(mine, "GET /fill HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	theirs := <-conns
	if n := unread(theirs); n == 0 {
		t.Error("nothing is left of more than he has room for")
	}
	go func() { _, _ = io.Copy(io.Discard, mine) }()
	for unread(theirs) != 0 { // he reads now
		time.Sleep(time.Millisecond)
	}
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
	if n := unread(theirs) + unread(nil) + unread(&roomyConn{}); n != 0 {
		t.Errorf("%d bytes of what is no open connection", n)
	}
}
