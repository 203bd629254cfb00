package upload

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// segmentFile is the file of a transfer. What fills whole blocks is written past
// the kernel's cache, where the file system can: nothing is copied and no memory is
// taken from others, the disk gets it at once, and a sync, which messages wait for
// too, finds nothing left to write.
type segmentFile struct {
	*os.File
	direct *os.File // the same file; nil: only through the cache
}

// openSegments opens a transfer's file; flag is os.O_CREATE or 0.
func openSegments(name string, flag int) (*segmentFile, error) {
	f, err := os.OpenFile(name, flag|os.O_RDWR, 0o640)
	if err != nil {
		return nil, err
	}
	direct, err := os.OpenFile(name, os.O_WRONLY|syscall.O_DIRECT, 0)
	if err != nil {
		direct = nil // some file systems cannot, and it is only faster
	}
	return &segmentFile{f, direct}, nil
}

// plain is the file to read from, nil when there is none.
func (f *segmentFile) plain() *os.File {
	if f == nil {
		return nil
	}
	return f.File
}

// reaches reports whether it is that long, or not there since it has been renamed.
// One that was made anew after that is not, and must not take the place of the right
// one.
func (f *segmentFile) reaches(end int64) bool {
	if f == nil {
		return true
	}
	info, err := f.Stat()
	return err == nil && info.Size() >= end
}

// Close closes it.
func (f *segmentFile) Close() error {
	err := f.File.Close()
	if f.direct != nil {
		err = errors.Join(err, f.direct.Close())
	}
	return err
}

// stretch is bytes that follow each other in a file.
type stretch struct {
	at     int64
	length int64
	parts  [][]byte
	blocks bool // each part is whole blocks, and begins at one
}

// mostParts is how many a system call takes.
const mostParts = 1024

// stretches cuts what is to be written into pieces of at most so many bytes, a
// multiple of blockSize, in order.
func stretches(steps []step, most int64) []stretch {
	var all []stretch
	for _, s := range steps {
		at, rest := s.at, s.data.b
		blocks := at%blockSize == 0 && len(rest)%blockSize == 0
		for len(rest) > 0 {
			var last *stretch
			if n := len(all); n > 0 {
				last = &all[n-1]
			}
			if last == nil || last.at+last.length != at || last.blocks != blocks || last.length >= most || len(last.parts) == mostParts {
				all = append(all, stretch{at: at, blocks: blocks})
				last = &all[len(all)-1]
			}
			n := min(int64(len(rest)), most-last.length)
			last.parts = append(last.parts, rest[:n:n])
			last.length += n
			at, rest = at+n, rest[n:]
		}
	}
	return all
}

// write writes a stretch. It is not durable then.
func (f *segmentFile) write(s stretch) error {
	if s.blocks && f.direct != nil {
		err := writeParts(f.direct, s)
		if !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.EOPNOTSUPP) {
			return err
		}
		_ = f.direct.Close() // it has told: only through the cache
		f.direct = nil
	}
	return writeParts(f.File, s)
}

func writeParts(f *os.File, s stretch) error {
	for at, parts := s.at, s.parts; len(parts) > 0; {
		n, err := unix.Pwritev(int(f.Fd()), parts, at)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return &os.PathError{Op: "pwritev", Path: f.Name(), Err: err}
		case n == 0:
			return io.ErrShortWrite
		}
		at += int64(n)
		parts = behind(parts, n)
	}
	return nil
}

// behind is what is left of parts after n bytes.
func behind(parts [][]byte, n int) [][]byte {
	for len(parts) > 0 && n >= len(parts[0]) {
		n -= len(parts[0])
		parts = parts[1:]
	}
	if n == 0 {
		return parts
	}
	left := append([][]byte{parts[0][n:]}, parts[1:]...)
	return left
}
