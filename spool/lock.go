package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/bridge"
)

// lockSize is what the file LOCK holds: the process and its command, and spaces.
const lockSize = 80

const (
	lockWait = 10 * time.Second // a gateway waits so long for a command
	lockPoll = 100 * time.Millisecond
)

// holder is who has a folder's lock.
type holder struct {
	process string
	command string // empty for a gateway
	reads   bool   // it, and perhaps others: they only read, and have no names
}

func (h holder) passing() bool { return h.command != "" || h.reads }

func (h holder) refuse(dir string) error {
	who, remedy := fmt.Sprintf("held by another gateway (process %s)", h.process), "stop it, or give this one a spool.dir of its own"
	switch {
	case h.reads:
		who, remedy = "being read by ebbgate spool verify", "wait until that has ended, or end it"
	case h.command != "":
		who, remedy = fmt.Sprintf("held by %s (process %s)", h.command, h.process), "wait until that has ended, or end it"
	}
	return bridge.Errorf("open spool", bridge.Unavailable, "folder %s is %s: %s", dir, who, remedy)
}

// lockDir takes the folder for this process. A gateway, whose command is empty,
// waits a little for a command to end: nobody should have to start it again because
// somebody has looked into its spool.
func lockDir(dir, command string, wait time.Duration, log *slog.Logger) (*os.File, error) {
	end := time.Now().Add(wait)
	for tries := 0; ; tries++ {
		f, held, err := tryLock(dir, command)
		if err != nil || f != nil {
			return f, err
		}
		// What the file says may be older than the lock by a moment: it is asked twice.
		if command != "" || tries > 0 && !held.passing() || time.Now().After(end) {
			return nil, held.refuse(dir)
		}
		if tries == 1 {
			log.Info("waiting for the spool", "folder", dir, "reason", held.refuse(dir))
		}
		<-time.After(lockPoll)
	}
}

// tryLock takes the folder, or says who has it.
func tryLock(dir, command string) (_ *os.File, held holder, err error) {
	path := filepath.Join(dir, "LOCK")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, held, fmt.Errorf("spool folder %s: %w", dir, err)
	}
	taken, err := flock(f, unix.LOCK_EX)
	switch {
	case err != nil:
		_ = f.Close()
		return nil, held, fmt.Errorf("lock %s: %w", path, err)
	case !taken:
		text := make([]byte, lockSize)
		n, _ := f.ReadAt(text, 0)
		held.process, held.command, _ = strings.Cut(strings.TrimSpace(string(text[:n])), " ")
		held.reads, _ = flock(f, unix.LOCK_SH)
		_ = release(f)
		return nil, held, nil
	}
	// Never truncated, and always of one size: on a full disk another program would
	// take the block, and no start would get it back. It is the lock that counts, the
	// name is for who asks; so a disk that does not take it is no reason to end.
	name := strings.TrimSpace(fmt.Sprint(os.Getpid(), " ", command))
	_, _ = f.WriteAt(fmt.Appendf(nil, "%-*.*s\n", lockSize-1, lockSize-1, name), 0)
	return f, held, nil
}

// lockToRead takes the folder for reading, beside others that do, and writes
// nothing. The file is nil when somebody has the folder, and when there is no file
// LOCK, which every start makes.
func lockToRead(dir string) (_ *os.File, running bool, err error) {
	path := filepath.Join(dir, "LOCK")
	f, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("spool folder %s: %w", dir, err)
	}
	taken, err := flock(f, unix.LOCK_SH)
	if err == nil && taken {
		return f, false, nil
	}
	_ = f.Close()
	if err != nil {
		return nil, false, fmt.Errorf("lock %s: %w", path, err)
	}
	return nil, true, nil
}

// release gives the folder back at once: a close alone would leave it locked while
// a process that another goroutine is just starting still has the descriptor. Of
// nil it does nothing.
func release(lock *os.File) error {
	if lock == nil {
		return nil
	}
	return errors.Join(unix.Flock(int(lock.Fd()), unix.LOCK_UN), lock.Close())
}

// flock reports whether it got the lock.
func flock(f *os.File, how int) (bool, error) {
	err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
