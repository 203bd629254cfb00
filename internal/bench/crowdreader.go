package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// reading is what the fast subscribers have received.
type reading struct{ arrived atomic.Int64 }

// readers subscribes, for each publisher of a fleet, one client to its topic,
// at QoS 0. They read until stop.
func (c *crowd) readers(ctx context.Context) (r *reading, stop func(), err error) {
	r = &reading{}
	var wg sync.WaitGroup
	var conns []net.Conn
	stop = func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
		wg.Wait()
	}
	for i := range manyDevices {
		conn, err := connect(ctx, c.addr, fmt.Sprintf("reader-%02d", i))
		if err == nil {
			conns = append(conns, conn)
			_, err = conn.Write(subscribeFrame(topicOf(clientName(i))))
		}
		if err == nil {
			err = readAnswer(conn, packetSubAck, 3)
		}
		if err != nil {
			stop()
			return nil, nil, err
		}
		wg.Go(func() { _ = r.read(conn) }) // it ends with its connection
	}
	return r, stop, nil
}

// read counts PUBLISHes.
func (r *reading) read(conn net.Conn) error {
	buf := make([]byte, 2*gulp)
	held := 0
	for {
		n, err := conn.Read(buf[held:])
		if err != nil {
			return err
		}
		b := buf[:held+n]
		for {
			_, _, size, err := splitPacket(b)
			if errors.Is(err, errShort) {
				break
			}
			if err != nil {
				return err
			}
			r.arrived.Add(1)
			b = b[size:]
		}
		held = copy(buf, b)
	}
}

// subscribeQoS1Frame asks for a filter with QoS 1.
func subscribeQoS1Frame(filter string) []byte {
	frame := subscribeFrame(filter)
	frame[len(frame)-1] = 1
	return frame
}

// readAnswerCode is readAnswer for an answer with another code than 0.
func readAnswerCode(r io.Reader, kind byte, size int, code byte) error {
	b := make([]byte, 2+size)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("awaiting packet %#x: %w", kind, err)
	}
	if b[0] != kind || b[len(b)-1] != code {
		return fmt.Errorf("awaiting packet %#x with code %d, got %x", kind, code, b)
	}
	return nil
}

// keys are a server's certificate and an authority's, as files, and how a device
// connects.
type keys struct {
	cert, key, ca string
	device        *tls.Config
}

// writeKeys makes them for an hour.
func writeKeys(dir string) (*keys, error) {
	authority, authorityKey, err := certificate(nil, nil, "bench authority")
	if err != nil {
		return nil, err
	}
	server, serverKey, err := certificate(authority, authorityKey, "localhost")
	if err != nil {
		return nil, err
	}
	device, deviceKey, err := certificate(authority, authorityKey, "device")
	if err != nil {
		return nil, err
	}
	k := &keys{cert: filepath.Join(dir, "server.pem"), key: filepath.Join(dir, "server.key"), ca: filepath.Join(dir, "ca.pem")}
	der, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	k.device = &tls.Config{RootCAs: pool, ServerName: "localhost", Certificates: []tls.Certificate{{Certificate: [][]byte{device.Raw}, PrivateKey: deviceKey}}}
	return k, errors.Join(
		writePEM(k.ca, "CERTIFICATE", authority.Raw),
		writePEM(k.cert, "CERTIFICATE", server.Raw),
		writePEM(k.key, "PRIVATE KEY", der),
	)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// certificate makes one that the issuer has signed; without an issuer it is an
// authority.
func certificate(issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey, name string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if issuer == nil {
		t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
		issuer, issuerKey = t, key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, issuer, &key.PublicKey, issuerKey)
	if err != nil {
		return nil, nil, err
	}
	made, err := x509.ParseCertificate(der)
	return made, key, err
}
