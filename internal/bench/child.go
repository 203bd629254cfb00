package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// child is a program under measurement, in a folder of its own.
type child struct {
	name string
	dir  string // its configuration, data and log
	argv []string

	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has been waited for
}

// stopTime bounds an orderly end.
const stopTime = 30 * time.Second

// start starts the program, which is killed when ctx ends; its output goes to
// the file log of its folder.
func (c *child) start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = c.dir, log, log, childAttr()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // what matters of its end is in its log
		close(ended)
	}()
	c.cmd, c.ended = cmd, ended
	return nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// signal sends sig to the program.
func (c *child) signal(sig syscall.Signal) error {
	if err := c.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// kill ends the program at once, if it runs.
func (c *child) kill() {
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Kill() // fails only when it has ended
	<-c.ended
	c.cmd = nil
}

// stop ends the program in order.
func (c *child) stop(ctx context.Context) error {
	if err := c.signal(syscall.SIGTERM); err != nil {
		return err
	}
	t := time.NewTimer(stopTime)
	defer t.Stop()
	select {
	case <-c.ended:
		c.cmd = nil
		return nil
	case <-t.C:
		return c.failed(fmt.Errorf("still runs %v after SIGTERM", stopTime))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// startTime bounds a start.
const startTime = 60 * time.Second

// accept waits until the broker at addr takes an MQTT client, and returns its
// connection. It tries as often as a device could.
func (c *child) accept(ctx context.Context, addr, clientID string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		conn, err := connect(ctx, addr, clientID)
		if err == nil {
			return conn, nil
		}
		select {
		case <-c.ended:
			return nil, c.failed(errors.New("ended before it took a client"))
		default:
		}
		if pause(ctx, time.Millisecond) != nil {
			return nil, c.failed(fmt.Errorf("took no client in %v: %w", startTime, err))
		}
	}
}

// ready waits until the broker at addr takes clients.
func (c *child) ready(ctx context.Context, addr string) error {
	conn, err := c.accept(ctx, addr, "probe")
	if err != nil {
		return err
	}
	return conn.Close()
}

// logTail is how much of a program's log an error shows.
const logTail = 2000

// failed is err with the end of the program's log.
func (c *child) failed(err error) error {
	log, _ := os.ReadFile(filepath.Join(c.dir, "log")) // without one there is nothing to show
	if len(log) > logTail {
		log = log[len(log)-logTail:]
	}
	return fmt.Errorf("%s: %w; the end of its log:\n%s", c.name, err, log)
}

// freeAddr finds a free loopback address.
func freeAddr() (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// freeAddrs finds n of them.
func freeAddrs(n int) ([]string, error) {
	var out []string
	for range n {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		out = append(out, addr)
	}
	return out, nil
}
