package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// sums are the checksums of a file's chunks, CRC-32C.
type sums []uint32

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// unfinishedPrefix begins the names of folders and files that a command was
// killed at; nobody reads them.
const unfinishedPrefix = ".new-"

func filePath(folder string, id int) string { return filepath.Join(folder, strconv.Itoa(id)) }
func sumsPath(folder string, id int) string { return filePath(folder, id) + ".sums" }

// snapshot copies files into the folder of a version, all or none.
func (l *Library) snapshot(ctx context.Context, s *Stream, paths []string) ([]File, error) {
	all, err := number(paths)
	switch {
	case err != nil:
		return nil, err
	case len(all) == 0:
		return nil, errors.New("there is no file: name some, or a folder that has some")
	case len(all) > maxFiles:
		return nil, fmt.Errorf("%d files: a stream has at most %d", len(all), maxFiles)
	}
	home := filepath.Join(l.dir, s.ID)
	if err := makeFolders(home); err != nil {
		return nil, err
	}
	if err := removeUnfinished(home); err != nil { // it may be what there is no room for
		return nil, err
	}
	if err := l.roomFor(roomOf(all)); err != nil {
		return nil, err
	}
	work, err := makeWork(home)
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(work) }() // there is nothing when it got its name; what a kill leaves goes with the next files of the stream
	var files []File
	for _, n := range all {
		f, err := l.copyIn(ctx, n.path, work, n.id)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.path, err)
		}
		files = append(files, f)
	}
	if err := syncFolder(work); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(l.folder(s)); err != nil { // of a command that was killed before it was in force
		return nil, err
	}
	if err := os.Rename(work, l.folder(s)); err != nil {
		return nil, err
	}
	return files, syncFolder(home)
}

// keep gives the next version the files of the one before.
func (l *Library) keep(was, next *Stream) error {
	home := filepath.Join(l.dir, next.ID)
	work, err := makeWork(home)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	for _, f := range was.Files {
		for _, path := range []func(string, int) string{filePath, sumsPath} {
			if err := os.Link(path(l.folder(was), f.ID), path(work, f.ID)); err != nil {
				return fmt.Errorf("keep file %d: %w", f.ID, err)
			}
		}
	}
	if err := syncFolder(work); err != nil {
		return err
	}
	if err := os.RemoveAll(l.folder(next)); err != nil {
		return err
	}
	if err := os.Rename(work, l.folder(next)); err != nil {
		return err
	}
	return syncFolder(home)
}

// copyIn copies one file, with its hash and checksums. Memory is one chunk.
func (l *Library) copyIn(ctx context.Context, path, folder string, id int) (File, error) {
	// A pipe without a writer would hang an open that waits.
	in, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return File{}, err
	}
	defer in.Close()
	before, err := in.Stat()
	switch {
	case err != nil:
		return File{}, err
	case !before.Mode().IsRegular():
		return File{}, errors.New("is not a file")
	case before.Size() > maxFileSize:
		return File{}, fmt.Errorf("has %d bytes: the largest file that blocks can reach has %d", before.Size(), maxFileSize)
	}
	out, err := os.OpenFile(filePath(folder, id), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o440)
	if err != nil {
		return File{}, err
	}
	f := File{ID: id, Name: filepath.Base(path)}
	list, err := l.copyChunks(ctx, out, in, &f)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close(), bequeath(out.Name())); err != nil {
		return File{}, err
	}
	after, err := os.Stat(path)
	if err != nil {
		return File{}, err
	}
	if f.Size != before.Size() || !after.ModTime().Equal(before.ModTime()) || after.Size() != f.Size {
		return File{}, errors.New("it was written to while it was copied: try again when it is still")
	}
	return f, writeWhole(sumsPath(folder, id), list.bytes())
}

func (l *Library) copyChunks(ctx context.Context, out io.Writer, in io.Reader, f *File) (list sums, err error) {
	hash, buf := sha256.New(), make([]byte, chunkSize)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := l.roomFor(0); err != nil { // others write there too
			return nil, err
		}
		n, err := io.ReadFull(in, buf)
		if n > 0 {
			hash.Write(buf[:n])
			list = append(list, crc32.Checksum(buf[:n], castagnoli))
			f.Size += int64(n)
			if _, err := out.Write(buf[:n]); err != nil {
				return nil, err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			f.SHA256 = hex.EncodeToString(hash.Sum(nil))
			return list, nil
		case err != nil:
			return nil, err
		}
	}
}

// bytes are the sums with a checksum of their own.
func (s sums) bytes() (out []byte) {
	for _, n := range s {
		out = binary.LittleEndian.AppendUint32(out, n)
	}
	return binary.LittleEndian.AppendUint32(out, crc32.Checksum(out, castagnoli))
}

var errDamaged = errors.New("its copy on the disk is damaged")

func readSums(path string, f *File) (sums, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != 4*(f.chunks()+1) {
		return nil, fmt.Errorf("%s: %w", path, errDamaged)
	}
	rest := b[:len(b)-4]
	if crc32.Checksum(rest, castagnoli) != binary.LittleEndian.Uint32(b[len(rest):]) {
		return nil, fmt.Errorf("%s: %w", path, errDamaged)
	}
	out := make(sums, f.chunks())
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(rest[4*i:])
	}
	return out, nil
}

// readChunk reads and checks one chunk of a snapshot.
func readChunk(path string, s sums, f *File, n int64) ([]byte, error) {
	if n < 0 || n >= int64(len(s)) {
		return nil, io.ErrUnexpectedEOF
	}
	in, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errVersion
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	c := make([]byte, f.chunkLen(n))
	if _, err := in.ReadAt(c, n*chunkSize); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, errDamaged, err)
	}
	if crc32.Checksum(c, castagnoli) != s[n] {
		return nil, fmt.Errorf("%s, at byte %d: %w", path, n*chunkSize, errDamaged)
	}
	return c, nil
}

// writeWhole writes a file that is there whole or not at all, after a power cut
// too.
func writeWhole(path string, b []byte) (err error) {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, unfinishedPrefix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Chmod(definitionMode), f.Close(), bequeath(f.Name())); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(folder)
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
