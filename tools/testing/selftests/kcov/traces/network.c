// SPDX-License-Identifier: GPL-2.0
/* Programs about sockets: Unix, UDP and TCP on the loopback device, netlink, packet. */
#include "traces.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

static char bytes[4096];
static int pair[2], server, client;
static struct sockaddr_in place;

static void stream_prepare(void)
{
	expect(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
}

static void datagram_prepare(void)
{
	expect(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair));
}

static void unix_pair(void)
{
	expect(send(pair[0], bytes, 1000, 0) == 1000);
	expect(recv(pair[1], bytes, 10, MSG_PEEK) == 10);
	expect(recv(pair[1], bytes, sizeof(bytes), 0) == 1000);
	expect_error(EAGAIN, recv(pair[1], bytes, 10, 0));
	expect(listen(pair[0], 5) == -1);
}

static void new_pair(void)
{
	int fresh[2];

	expect(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fresh));
	expect(!shutdown(fresh[0], SHUT_WR));
	expect(recv(fresh[1], bytes, 10, 0) == 0);
	expect(!close(fresh[1]));
	expect_error(EPIPE, send(fresh[0], bytes, 10, MSG_NOSIGNAL));
	expect(!close(fresh[0]));
}

static void pass_descriptor(void)
{
	struct iovec part = { bytes, 1 };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .header = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	int fd;

	memcpy(CMSG_DATA(&control.header), &pair[0], sizeof(int));
	expect(sendmsg(pair[0], &message, 0) == 1);
	expect(recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC) == 1);
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(int));
	expect(fd != pair[0] && !close(fd));
	fd = -1;
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
	expect_error(EBADF, sendmsg(pair[0], &message, 0));
}

static void unix_listen(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "\0differential" };
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), caller = socket(AF_UNIX, SOCK_STREAM, 0);
	int accepted;
	struct ucred credentials;
	socklen_t length = sizeof(credentials);

	expect(listener >= 0 && caller >= 0);
	expect(!bind(listener, (struct sockaddr *)&name, 20));
	expect_error(EINVAL, bind(listener, (struct sockaddr *)&name, 20));
	expect_error(ECONNREFUSED, connect(caller, (struct sockaddr *)&name, 20));
	expect(!listen(listener, 3));
	expect(!connect(caller, (struct sockaddr *)&name, 20));
	accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	expect(accepted >= 0);
	expect(!getsockopt(accepted, SOL_SOCKET, SO_PEERCRED, &credentials, &length));
	expect(!close(accepted) && !close(caller) && !close(listener));
}

static struct sockaddr_in loopback(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return address;
}

static void datagrams_prepare(void)
{
	place = loopback(4711);
	server = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	client = socket(AF_INET, SOCK_DGRAM, 0);
	expect(server >= 0 && client >= 0);
	expect(!bind(server, (struct sockaddr *)&place, sizeof(place)));
	place = loopback(4712);
	expect(!bind(client, (struct sockaddr *)&place, sizeof(place)));
	place = loopback(4711);
}

static void datagrams(void)
{
	struct pollfd entry = { server, POLLIN | POLLOUT, 0 };
	struct sockaddr_in from;
	socklen_t length = sizeof(from);

	expect(sendto(client, bytes, 500, 0, (struct sockaddr *)&place, sizeof(place)) == 500);
	expect(poll(&entry, 1, 0) == 1);
	expect(recvfrom(server, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &length) == 500);
	expect(from.sin_port == htons(4712));
	expect_error(EAGAIN, recv(server, bytes, 10, 0));
	expect_error(EDESTADDRREQ, send(server, bytes, 10, 0));
	expect_error(EMSGSIZE, sendto(client, bytes, 70000, 0, (struct sockaddr *)&place,
				      sizeof(place)));
}

static void connected_datagrams(void)
{
	struct sockaddr_in name;
	struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	socklen_t length = sizeof(name);

	expect(!connect(client, (struct sockaddr *)&place, sizeof(place)));
	expect(!getpeername(client, (struct sockaddr *)&name, &length));
	expect(!getsockname(client, (struct sockaddr *)&name, &length));
	expect(send(client, bytes, 20, 0) == 20);
	expect(recv(server, bytes, sizeof(bytes), 0) == 20);
	expect(!connect(client, &nobody, sizeof(nobody)));
	expect_error(ENOTCONN, getpeername(client, (struct sockaddr *)&name, &length));
}

static void listen_prepare(void)
{
	int one = 1;

	place = loopback(4713);
	server = socket(AF_INET, SOCK_STREAM, 0);
	expect(server >= 0);
	expect(!setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	expect(!bind(server, (struct sockaddr *)&place, sizeof(place)));
	expect(!listen(server, 5));
}

static void tcp_connection(void)
{
	struct linger hard = { .l_onoff = 1 };
	int caller = socket(AF_INET, SOCK_STREAM, 0), accepted;
	struct sockaddr_in own = loopback(4714);
	int one = 1;

	expect(caller >= 0);
	expect(!setsockopt(caller, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	expect(!bind(caller, (struct sockaddr *)&own, sizeof(own)));
	expect(!connect(caller, (struct sockaddr *)&place, sizeof(place)));
	accepted = accept(server, NULL, NULL);
	expect(accepted >= 0);
	expect(send(caller, bytes, 1000, 0) == 1000);
	expect(recv(accepted, bytes, sizeof(bytes), 0) == 1000);
	/* A reset leaves no connection behind that waits for its end. */
	expect(!setsockopt(caller, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
	expect(!close(caller));
	expect_error(ECONNRESET, recv(accepted, bytes, 10, 0));
	expect(!close(accepted));
}

static void tcp_refused(void)
{
	struct sockaddr_in nobody = loopback(9);
	int caller = socket(AF_INET, SOCK_STREAM, 0);

	expect(caller >= 0);
	expect_error(ECONNREFUSED, connect(caller, (struct sockaddr *)&nobody, sizeof(nobody)));
	expect_error(ENOTCONN, shutdown(caller, SHUT_RDWR));
	expect(!close(caller));
}

static void options(void)
{
	struct timeval time = { 5, 0 };
	int value = 1;
	socklen_t length = sizeof(value);

	expect(!setsockopt(server, SOL_SOCKET, SO_KEEPALIVE, &value, length));
	expect(!setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &value, length));
	expect(!setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)));
	value = 12345;
	expect(!setsockopt(server, SOL_SOCKET, SO_SNDBUF, &value, length));
	expect(!getsockopt(server, SOL_SOCKET, SO_SNDBUF, &value, &length));
	expect(!getsockopt(server, IPPROTO_IP, IP_TTL, &value, &length));
	expect_error(ENOPROTOOPT, setsockopt(server, SOL_SOCKET, 0x5a5a, &value, length));
	expect_error(EINVAL, setsockopt(server, SOL_SOCKET, SO_KEEPALIVE, &value, 1));
	expect_error(EFAULT, setsockopt(server, SOL_SOCKET, SO_KEEPALIVE, nowhere(), length));
}

static void socket_errors(void)
{
	int fd;

	expect_error(EAFNOSUPPORT, socket(0x2a2a, SOCK_STREAM, 0));
	expect_error(EINVAL, socket(AF_INET, 0x77, 0));
	expect_error(EPROTONOSUPPORT, socket(AF_INET, SOCK_STREAM, 200));
	expect_error(ENOTSOCK, listen(0, 5));
	expect_error(EBADF, bind(-1, (struct sockaddr *)&place, sizeof(place)));
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	expect(fd >= 0);
	expect_error(EINVAL, bind(fd, (struct sockaddr *)&place, 3));
	expect_error(EOPNOTSUPP, listen(fd, 5));
	expect(!close(fd));
}

static void netlink_prepare(void)
{
	client = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	expect(client >= 0);
}

static void netlink(void)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg link;
	} request = {
		{ sizeof(request), RTM_GETLINK, NLM_F_REQUEST, 7, 0 },
		{ .ifi_family = AF_UNSPEC, .ifi_index = 1 },
	};

	expect(send(client, &request, sizeof(request), 0) == sizeof(request));
	expect(recv(client, bytes, sizeof(bytes), 0) > (ssize_t)sizeof(request));
	request.link.ifi_index = 4711;
	expect(send(client, &request, sizeof(request), 0) == sizeof(request));
	expect(recv(client, bytes, sizeof(bytes), 0) > 0);
	expect(((struct nlmsghdr *)bytes)->nlmsg_type == NLMSG_ERROR);
}

static void interfaces(void)
{
	struct ifreq request = { .ifr_name = "lo" };

	expect(!ioctl(client, SIOCGIFINDEX, &request) && request.ifr_ifindex == 1);
	expect(!ioctl(client, SIOCGIFFLAGS, &request));
	expect(!ioctl(client, SIOCGIFMTU, &request));
	strcpy(request.ifr_name, "nothing");
	expect_error(ENODEV, ioctl(client, SIOCGIFMTU, &request));
}

const struct program network_programs[] = {
	{ "unix-stream", stream_prepare, unix_pair },
	{ "unix-datagram", datagram_prepare, unix_pair },
	{ "unix-seqpacket", NULL, new_pair },
	{ "unix-rights", stream_prepare, pass_descriptor },
	{ "unix-listen", NULL, unix_listen },
	{ "udp", datagrams_prepare, datagrams },
	{ "udp-connected", datagrams_prepare, connected_datagrams },
	{ "tcp", listen_prepare, tcp_connection },
	{ "tcp-refused", NULL, tcp_refused },
	{ "socket-options", listen_prepare, options },
	{ "socket-errors", NULL, socket_errors },
	{ "netlink", netlink_prepare, netlink },
	{ "interfaces", datagrams_prepare, interfaces },
	{ 0 },
};
