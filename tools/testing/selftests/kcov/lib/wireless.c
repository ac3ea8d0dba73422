// SPDX-License-Identifier: GPL-2.0
/*
 * Simulated radios: their interfaces are made monitors by generic netlink, and
 * frames are sent through a packet socket.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/nl80211.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wireless.h"

#define SENDER		"wlan0"
#define RECEIVER	"wlan1"
#define CLASS		"/sys/class/mac80211_hwsim"
/* Channel 1, which every regulatory domain has. In MHz. */
#define FREQUENCY	2412

/* linux/if_ether.h cannot be included together with net/if.h everywhere. */
#define ETH_P_ALL	0x0003

/* A request of generic netlink that is being built, or its answer. */
union message {
	struct nlmsghdr header;
	char bytes[2048];
};

/* A datagram socket for ioctl(), and the packet socket that sends. */
static int control = -1;
static int injector = -1;

/* The family of nl80211, and the types that the interfaces had. */
static int nl80211;
static uint32_t sender_type, receiver_type;

const char *wireless_missing(void)
{
	if (access(CLASS, F_OK))
		return "no simulated radio (CONFIG_MAC80211_HWSIM)";
	if (!if_nametoindex(SENDER) || !if_nametoindex(RECEIVER))
		return "the simulated radios have no interfaces " SENDER " and " RECEIVER;
	return NULL;
}

static void begin(union message *message, uint16_t type, uint8_t command)
{
	struct genlmsghdr *generic = NLMSG_DATA(&message->header);

	memset(message, 0, sizeof(*message));
	message->header.nlmsg_type = type;
	message->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	message->header.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	generic->cmd = command;
	generic->version = 1;
}

static void add(union message *message, uint16_t type, const void *data, size_t size)
{
	size_t end = NLMSG_ALIGN(message->header.nlmsg_len);
	struct nlattr *attribute = (struct nlattr *)(message->bytes + end);

	attribute->nla_type = type;
	attribute->nla_len = NLA_HDRLEN + size;
	memcpy((char *)attribute + NLA_HDRLEN, data, size);
	message->header.nlmsg_len = end + NLA_ALIGN(attribute->nla_len);
}

static void add_u32(union message *message, uint16_t type, uint32_t value)
{
	add(message, type, &value, sizeof(value));
}

/* Copies the value of the attribute @type of an answer, if it has it. */
static void find(const union message *message, uint16_t type, void *value, size_t size)
{
	size_t place = NLMSG_LENGTH(GENL_HDRLEN);

	while (place + NLA_HDRLEN <= message->header.nlmsg_len) {
		const struct nlattr *attribute = (const void *)(message->bytes + place);

		if (attribute->nla_type == type && attribute->nla_len == NLA_HDRLEN + size) {
			memcpy(value, (const char *)attribute + NLA_HDRLEN, size);
			return;
		}
		place += NLA_ALIGN(attribute->nla_len);
	}
}

/*
 * Sends a request and reads until it is acknowledged. The value of the attribute @wanted,
 * which has that size, goes to @value, if that is not NULL.
 */
static int request(union message *message, uint16_t wanted, void *value, size_t size)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	int result = 0;

	if (fd < 0)
		return -errno;
	if (send(fd, message, message->header.nlmsg_len, 0) < 0)
		result = -errno;
	while (!result) {
		union message answer;
		ssize_t got = recv(fd, &answer, sizeof(answer), 0);

		if (got < (ssize_t)NLMSG_HDRLEN) {
			result = -EIO;
		} else if (answer.header.nlmsg_type == NLMSG_ERROR) {
			result = ((struct nlmsgerr *)NLMSG_DATA(&answer.header))->error;
			break;
		} else if (value) {
			/* The rest did not fit. */
			if (answer.header.nlmsg_len > got)
				answer.header.nlmsg_len = got;
			find(&answer, wanted, value, size);
		}
	}
	close(fd);
	return result;
}

/* Returns the number of the family of nl80211, or a negative errno. */
static int family(void)
{
	union message message;
	uint16_t id = 0;
	int result;

	begin(&message, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	add(&message, CTRL_ATTR_FAMILY_NAME, NL80211_GENL_NAME, sizeof(NL80211_GENL_NAME));
	result = request(&message, CTRL_ATTR_FAMILY_ID, &id, sizeof(id));
	return result ?: id ?: -ENOENT;
}

static int set_link(const char *name, bool up)
{
	struct ifreq request = {};

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (ioctl(control, SIOCGIFFLAGS, &request))
		return -errno;
	request.ifr_flags = up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP;
	return ioctl(control, SIOCSIFFLAGS, &request) ? -errno : 0;
}

int wireless_receiver_set(bool up)
{
	return set_link(RECEIVER, up);
}

static int get_type(const char *name, uint32_t *type)
{
	union message message;

	*type = NL80211_IFTYPE_UNSPECIFIED;
	begin(&message, nl80211, NL80211_CMD_GET_INTERFACE);
	add_u32(&message, NL80211_ATTR_IFINDEX, if_nametoindex(name));
	return request(&message, NL80211_ATTR_IFTYPE, type, sizeof(*type));
}

/* Takes an interface down, and gives it a type. */
static int set_type(const char *name, uint32_t type)
{
	union message message;
	int result = set_link(name, false);

	if (result)
		return result;
	begin(&message, nl80211, NL80211_CMD_SET_INTERFACE);
	add_u32(&message, NL80211_ATTR_IFINDEX, if_nametoindex(name));
	add_u32(&message, NL80211_ATTR_IFTYPE, type);
	return request(&message, 0, NULL, 0);
}

/* Makes an interface a monitor on the channel, and takes it up. */
static int listen_with(const char *name)
{
	union message message;
	int result = set_type(name, NL80211_IFTYPE_MONITOR) ?: set_link(name, true);

	if (result)
		return result;
	begin(&message, nl80211, NL80211_CMD_SET_WIPHY);
	add_u32(&message, NL80211_ATTR_IFINDEX, if_nametoindex(name));
	add_u32(&message, NL80211_ATTR_WIPHY_FREQ, FREQUENCY);
	add_u32(&message, NL80211_ATTR_CHANNEL_WIDTH, NL80211_CHAN_WIDTH_20_NOHT);
	return request(&message, 0, NULL, 0);
}

int wireless_start(void)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = if_nametoindex(SENDER),
	};
	int result;

	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (control < 0)
		return -errno;
	nl80211 = family();
	if (nl80211 < 0)
		return nl80211;
	result = get_type(SENDER, &sender_type) ?: get_type(RECEIVER, &receiver_type) ?:
		 listen_with(SENDER) ?: listen_with(RECEIVER);
	if (result)
		return result;
	injector = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	if (injector < 0 || bind(injector, (void *)&address, sizeof(address)))
		return -errno;
	return 0;
}

int wireless_end(void)
{
	int result = 0;

	if (control >= 0) {
		result = set_type(RECEIVER, receiver_type) ?: set_type(SENDER, sender_type);
		close(control);
	}
	if (injector >= 0)
		close(injector);
	control = -1;
	injector = -1;
	return result;
}

int wireless_send(void)
{
	static const uint8_t frame[] = {
		/* A header of radiotap without fields: version, padding, length, fields. */
		0, 0, 8, 0, 0, 0, 0, 0,
		/* A beacon: type, flags, duration. */
		0x80, 0, 0, 0,
		/* To all, from a station, of its network; sequence number. */
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		2, 0, 0, 0, 0, 1,
		2, 0, 0, 0, 0, 1,
		0, 0,
		/* Time stamp, interval, capabilities, and an empty name. */
		0, 0, 0, 0, 0, 0, 0, 0, 100, 0, 1, 0, 0, 0,
	};

	return send(injector, frame, sizeof(frame), 0) < 0 ? -errno : 0;
}
