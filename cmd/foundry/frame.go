// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// frameText is a frame in a line: who to whom, and what.
func frameText(head []byte, length uint32) string {
	p := gopacket.NewPacket(head, layers.LayerTypeEthernet, gopacket.DecodeOptions{NoCopy: true, Lazy: true})
	eth, ok := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	if !ok {
		return fmt.Sprintf("%d bytes, no Ethernet header", length)
	}
	words := []string{fmt.Sprintf("%s > %s", eth.SrcMAC, eth.DstMAC)}
	for _, l := range p.Layers()[1:] {
		if text := layerText(l); text != "" {
			words = append(words, text)
		}
	}
	if len(words) == 1 {
		words = append(words, fmt.Sprintf("type %#04x", uint16(eth.EthernetType)))
	}
	return fmt.Sprintf("%s, %d bytes", strings.Join(words, ", "), length)
}

func layerText(l gopacket.Layer) string {
	switch l := l.(type) {
	case *layers.Dot1Q:
		return fmt.Sprintf("VLAN %d", l.VLANIdentifier)
	case *layers.ARP:
		return arpText(l)
	case *layers.IPv4:
		return fmt.Sprintf("%s > %s", l.SrcIP, l.DstIP)
	case *layers.IPv6:
		return fmt.Sprintf("%s > %s", l.SrcIP, l.DstIP)
	case *layers.TCP:
		return fmt.Sprintf("TCP %d > %d %s", l.SrcPort, l.DstPort, tcpFlags(l))
	case *layers.UDP:
		return fmt.Sprintf("UDP %d > %d", l.SrcPort, l.DstPort)
	case *layers.SCTP:
		return fmt.Sprintf("SCTP %d > %d", l.SrcPort, l.DstPort)
	case *layers.ICMPv4:
		return "ICMP " + l.TypeCode.String()
	case *layers.ICMPv6:
		return "ICMPv6 " + l.TypeCode.String()
	case *layers.VXLAN:
		return "VXLAN " + strconv.Itoa(int(l.VNI))
	}
	return ""
}

func arpText(l *layers.ARP) string {
	asked, asker := net.IP(l.DstProtAddress), net.IP(l.SourceProtAddress)
	if l.Operation == layers.ARPRequest {
		return fmt.Sprintf("ARP who has %s, tell %s", asked, asker)
	}
	return fmt.Sprintf("ARP %s is at %s", asker, net.HardwareAddr(l.SourceHwAddress))
}

func tcpFlags(l *layers.TCP) string {
	var b strings.Builder
	for _, f := range []struct {
		on   bool
		name byte
	}{{l.SYN, 'S'}, {l.FIN, 'F'}, {l.RST, 'R'}, {l.PSH, 'P'}, {l.ACK, '.'}} {
		if f.on {
			b.WriteByte(f.name)
		}
	}
	return "[" + b.String() + "]"
}
