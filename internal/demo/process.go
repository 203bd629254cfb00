package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a child that is killed and started again.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended; read it after done
}

// startProcess starts a program that does not outlive this process.
func startProcess(log io.Writer, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = childOf()
	started := make(chan error, 1)
	go func() {
		// The kernel ends the child with the thread that made it: keep it.
		runtime.LockOSThread()
		defer close(p.done)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// kill ends it as a power cut would, and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // fails only when it has ended already
	<-p.done
}

// stop asks it to end, and kills it when it does not within the time.
func (p *process) stop(within time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(within):
		p.kill()
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// listening waits until the process takes connections at addr.
func (p *process) listening(ctx context.Context, addr string) error {
	var d net.Dialer
	for {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended before it listened on %s: %w", addr, errors.Join(p.err, errEnded))
		case <-ctx.Done():
			return fmt.Errorf("it does not listen on %s: %w", addr, context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

var errEnded = errors.New("the process has ended")

// freeAddr finds a port on loopback, the preferred one if nobody has it.
func freeAddr(preferred string) (string, error) {
	for _, addr := range []string{preferred, "127.0.0.1:0"} {
		if addr == "" {
			continue
		}
		if l, err := net.Listen("tcp", addr); err == nil {
			addr := l.Addr().String()
			return addr, l.Close()
		}
	}
	return "", errors.New("no free port on 127.0.0.1")
}

// tail is the end of a log file, for an error message.
func tail(path string) string {
	const most = 2000
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(data[max(0, len(data)-most):])
}
