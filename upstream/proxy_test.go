package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// says sends a word over a connection and wants it back.
func says(t *testing.T, d *Dialer, address string) {
	t.Helper()
	c, err := d.Dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	back := make([]byte, 5)
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, back); err != nil || string(back) != "hello" {
		t.Fatalf("%q came back: %v", back, err)
	}
}

func TestProxy(t *testing.T) {
	target, p := peers.Echo(t), peers.NewConnectProxy(t, "ada", "p:w")
	login := ProxyOptions{Proxy: "http://" + p.Addr, Username: "ada", Password: "p:w"}
	says(t, NewDialer(ProxyOptions{}), target)
	if n := len(p.Tunnels()); n != 0 {
		t.Fatalf("%d tunnels without a proxy in the options", n)
	}
	says(t, NewDialer(login), target)

	fromEnv := NewDialer(ProxyOptions{Proxy: "environment"})
	var asked []string
	environment := func(answer string) func(*http.Request) (*url.URL, error) {
		return func(r *http.Request) (*url.URL, error) {
			asked = append(asked, r.URL.String())
			if answer == "" {
				return nil, nil
			}
			return url.Parse(answer)
		}
	}
	fromEnv.environment = environment("http://ada:p%3Aw@" + p.Addr)
	says(t, fromEnv, target)
	fromEnv.environment = environment("") // NO_PROXY
	says(t, fromEnv, target)
	if want := []string{target, target}; !slices.Equal(p.Tunnels(), want) {
		t.Errorf("tunnels to %v, want %v", p.Tunnels(), want)
	}
	if want := []string{"https://" + target, "https://" + target}; !slices.Equal(asked, want) {
		t.Errorf("the environment was asked about %v, want %v", asked, want)
	}
	fromEnv.environment = environment("socks5://ada:hidden@" + p.Addr)
	if _, err := fromEnv.Dial(t.Context(), target); err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("a proxy of another kind: %v", err)
	}
}

func TestWhatAProxyRefuses(t *testing.T) {
	p := peers.NewConnectProxy(t, "", "")
	d := NewDialer(ProxyOptions{Proxy: "http://" + p.Addr})
	for status, remedy := range map[int]string{407: "proxy_username", 403: "CONNECT to cloud.example:8883", 404: "HTTP proxy", 502: "", 504: ""} {
		p.Refuse(status)
		_, err := d.Dial(t.Context(), "cloud.example:8883")
		e, ok := errors.AsType[*ProxyError](err)
		if !ok || e.Status != status || e.Target != "cloud.example:8883" || !strings.Contains(e.Error(), p.Addr) {
			t.Errorf("%d: error %v", status, err)
			continue
		}
		if got := e.Remedy(); (got == "") != (remedy == "") || !strings.Contains(got, remedy) {
			t.Errorf("%d: remedy %q, want %q in it", status, got, remedy)
		}
	}
}

func TestAHostileProxy(t *testing.T) {
	for name, answer := range map[string]string{
		"no HTTP":     "SSH-2.0-OpenSSH_9.9\r\n\r\n",
		"without end": "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 10_000),
		"cut short":   "HTTP/1.1 200",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			served := make(chan struct{})
			go func() {
				defer close(served)
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = fmt.Fprint(c, answer)
				_ = c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}()
			if _, err := NewDialer(ProxyOptions{Proxy: "http://" + l.Addr().String()}).Dial(t.Context(), "h:1"); err == nil {
				t.Error("it is a tunnel")
			}
			<-served
		})
	}
}

func TestAProxysAnswerLeavesTheTunnelWhole(t *testing.T) {
	in, out := net.Pipe()
	defer in.Close()
	go func() {
		_, _ = in.Read(make([]byte, 1024))
		_, _ = io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\nfirst words")
		_ = in.Close()
	}()
	if err := tunnel(out, "proxy", "h:1", ""); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(out); err != nil || string(rest) != "first words" {
		t.Errorf("through the tunnel came %q: %v", rest, err)
	}
}

// A proxy that takes the connection and swallows CONNECT is named, with what it was
// asked for; so is one that does not come to an end.
func TestASilentProxyIsNamed(t *testing.T) {
	for _, c := range []struct{ name, says, target, hint string }{
		{"nothing", "", "cloud.example:8883", "port 443"},
		{"half a head", "HTTP/1.1 200", "cloud.example:8883", "port 443"},
		{"nothing on 443", "", "cloud.example:443", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				d := NewDialer(ProxyOptions{Proxy: "http://proxy.example:3128", Username: "ada", Password: "hidden"})
				d.dial = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
				go func() {
					_, _ = io.CopyN(io.Discard, theirs, 1)
					go func() { _, _ = io.WriteString(theirs, c.says) }()
					_, _ = io.Copy(io.Discard, theirs)
				}()
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				_, err := d.Dial(ctx, c.target)
				want := "the proxy proxy.example:3128 has not answered within 3s when asked for a tunnel to " + c.target
				if _, silent := errors.AsType[*SilentProxyError](err); !silent || !errors.Is(err, context.DeadlineExceeded) ||
					!strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "port 443") != (c.hint != "") || strings.Contains(err.Error(), "hidden") {
					t.Errorf("%v, want %q", err, want)
				}
			})
		})
	}
}

// Lines of a head may end with a bare LF.
func TestAProxysHeadMayHaveBareLineFeeds(t *testing.T) {
	for _, head := range []string{"HTTP/1.0 200 OK\n\n", "HTTP/1.1 200 OK\nVia: x\n\n", "HTTP/1.1 200 OK\r\nVia: x\n\r\n", "HTTP/1.1 200 OK\nVia: x\r\n\n"} {
		in, out := net.Pipe()
		go func() {
			_, _ = in.Read(make([]byte, 1024))
			_, _ = io.WriteString(in, head+"\nfirst words")
			_ = in.Close()
		}()
		if err := tunnel(out, "proxy", "h:1", ""); err != nil {
			t.Errorf("%q: %v", head, err)
		} else if rest, err := io.ReadAll(out); err != nil || string(rest) != "\nfirst words" {
			t.Errorf("%q: through the tunnel came %q: %v", head, rest, err)
		}
		_ = in.Close()
	}
}
