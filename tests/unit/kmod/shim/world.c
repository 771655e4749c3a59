/* SPDX-License-Identifier: MIT */
#include "world.h"

#define REFS 4096u

unsigned shim_warnings, shim_errors;
unsigned long jiffies = 1000;
int shim_module;
char *shim_arena;
struct page shim_pages[SHIM_PAGES];
struct world world;

/* ---- memory ----------------------------------------------------------------------------------------------------- */

void *alloc_pages_exact(size_t bytes, gfp_t gfp)
{
	unsigned want = (unsigned)(PAGE_ALIGN(bytes) >> PAGE_SHIFT), run = 0;

	for (unsigned i = 1; i < SHIM_PAGES; i++) {
		run = shim_pages[i].count ? 0 : run + 1;
		if (run < want)
			continue;
		i -= want - 1;
		for (unsigned k = i; k < i + want; k++)
			shim_pages[k] = (struct page){.count = 1};
		if (gfp & __GFP_ZERO)
			memset(shim_arena + i * PAGE_SIZE, 0, want * PAGE_SIZE);
		return shim_arena + i * PAGE_SIZE;
	}
	return NULL;
}

void free_pages_exact(void *v, size_t bytes)
{
	for (size_t at = 0; at < PAGE_ALIGN(bytes); at += PAGE_SIZE)
		put_page(virt_to_page((char *)v + at));
}

static struct {
	const char *v;
	size_t bytes;
} areas[32];

void *vzalloc(size_t bytes)
{
	unsigned i;

	for (i = 0; areas[i].v; i++)
		;
	areas[i].v = alloc_pages_exact(bytes, __GFP_ZERO);
	areas[i].bytes = bytes;
	return (void *)areas[i].v;
}

bool is_vmalloc_addr(const void *v)
{
	for (unsigned i = 0; i < ARRAY_SIZE(areas); i++)
		if (areas[i].v && (size_t)((const char *)v - areas[i].v) < areas[i].bytes)
			return true;
	return false;
}

void vfree(const void *v)
{
	for (unsigned i = 0; i < ARRAY_SIZE(areas) && v; i++)
		if (areas[i].v == v) {
			free_pages_exact((void *)v, areas[i].bytes);
			areas[i].v = NULL;
		}
}

/* ---- arrays ----------------------------------------------------------------------------------------------------- */

static void *slots[4][SHIM_XARRAY]; /* the first one is the array's that is there from the beginning */
static unsigned arrays;

void xa_init_flags(struct xarray *xa, int flags)
{
	(void)flags;
	xa->slot = slots[1 + arrays++ % 3];
	memset(xa->slot, 0, sizeof(slots[0]));
}

void *xa_load(struct xarray *xa, unsigned long i)
{
	return xa->slot && i < SHIM_XARRAY ? xa->slot[i] : NULL;
}

void *__xa_store(struct xarray *xa, unsigned long i, void *value, gfp_t gfp)
{
	(void)gfp;
	xa->slot[i] = value;
	return NULL;
}

void *__xa_erase(struct xarray *xa, unsigned long i)
{
	void *was = xa->slot[i];

	xa->slot[i] = NULL;
	return was;
}

int xa_insert(struct xarray *xa, unsigned long i, void *value, gfp_t gfp)
{
	xa->slot = slots[0];
	if (xa->slot[i])
		return -EBUSY;
	return __xa_store(xa, i, value, gfp) ? -EIO : 0;
}

/* ---- work ------------------------------------------------------------------------------------------------------- */

static struct {
	struct delayed_work *work;
	unsigned long delay;
} put_off[8];
static bool busy;

static void work_do(struct delayed_work *work)
{
	busy = true; /* never twice at once */
	work->work.fn(&work->work);
	busy = false;
}

void cancel_delayed_work_sync(struct delayed_work *work)
{
	for (unsigned i = 0; i < ARRAY_SIZE(put_off); i++)
		if (put_off[i].work == work)
			put_off[i].work = NULL;
}

void mod_delayed_work(struct workqueue_struct *queue, struct delayed_work *work, unsigned long delay)
{
	unsigned i;

	(void)queue;
	cancel_delayed_work_sync(work);
	if (!delay && !world.work_stops && !busy) {
		work_do(work);
		return;
	}
	for (i = 0; put_off[i].work; i++)
		;
	put_off[i].work = work;
	put_off[i].delay = delay;
}

/* Unless it waits for its time already. */
void queue_delayed_work(struct workqueue_struct *queue, struct delayed_work *work, unsigned long delay)
{
	for (unsigned i = 0; i < ARRAY_SIZE(put_off); i++)
		if (put_off[i].work == work)
			return;
	mod_delayed_work(queue, work, delay);
}

bool world_work(void)
{
	struct delayed_work *work;
	unsigned first = 0;

	for (unsigned i = 1; i < ARRAY_SIZE(put_off); i++)
		if (put_off[i].work && (!put_off[first].work || put_off[i].delay < put_off[first].delay))
			first = i;
	work = put_off[first].work;
	put_off[first].work = NULL;
	if (!work)
		return false;
	jiffies += put_off[first].delay;
	for (unsigned i = 0; i < ARRAY_SIZE(put_off); i++)
		put_off[i].delay -= min(put_off[i].delay, put_off[first].delay);
	work_do(work);
	return true;
}

/* ---- grants ----------------------------------------------------------------------------------------------------- */

static struct {
	bool active, held, readonly;
	unsigned long gfn;
} table[REFS];
static grant_ref_t unused[REFS], chunk[REFS];
static unsigned unused_count, chunk_count;

unsigned gnttab_max_grant_frames(void)
{
	return REFS / 512;
}

int gnttab_alloc_grant_references(u16 count, grant_ref_t *head)
{
	if (count > unused_count)
		return -ENOSPC;
	*head = 0;
	for (chunk_count = 0; chunk_count < count; chunk_count++)
		chunk[count - 1 - chunk_count] = unused[--unused_count];
	return 0;
}

int gnttab_claim_grant_reference(grant_ref_t *head)
{
	(void)head;
	return (int)chunk[--chunk_count];
}

void gnttab_free_grant_reference(grant_ref_t ref)
{
	unused[unused_count++] = ref;
}

void gnttab_grant_foreign_access_ref(grant_ref_t ref, domid_t domid, unsigned long gfn, int readonly)
{
	(void)domid;
	table[ref].active = true;
	table[ref].gfn = gfn;
	table[ref].readonly = readonly;
}

int gnttab_end_foreign_access_ref(grant_ref_t ref)
{
	table[ref].active = table[ref].held;
	return !table[ref].held;
}

int gnttab_try_end_foreign_access(grant_ref_t ref)
{
	int ended = gnttab_end_foreign_access_ref(ref);

	if (ended)
		gnttab_free_grant_reference(ref);
	return ended;
}

void gnttab_end_foreign_access(grant_ref_t ref, struct page *page)
{
	(void)ref, (void)page;
}

static grant_ref_t ref_of(dma_addr_t addr)
{
	return (grant_ref_t)(addr >> PAGE_SHIFT) % REFS;
}

void *world_reach(dma_addr_t addr, bool write)
{
	grant_ref_t ref = ref_of(addr);

	if (!table[ref].active || (write && table[ref].readonly))
		return NULL;
	return (char *)__va((phys_addr_t)table[ref].gfn << PAGE_SHIFT) + (addr & (PAGE_SIZE - 1));
}

void world_hold(dma_addr_t addr, bool held)
{
	table[ref_of(addr)].held = held;
}

unsigned world_granted(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < REFS; i++)
		n += table[i].active;
	return n;
}

/* ---- event channels --------------------------------------------------------------------------------------------- */

static evtchn_port_t port_of[64]; /* by irq; 0: none any more */
static void *holder_of[64];
static irq_handler_t handler_of[64];
static bool late[64], waits[64]; /* it is let go on by a call; it was not yet */
static unsigned irqs;
unsigned world_spurious;

int xenbus_alloc_evtchn(struct xenbus_device *xbdev, evtchn_port_t *port)
{
	(void)xbdev;
	for (*port = 5; world.owner[*port]; (*port)++)
		;
	world.owner[*port] = "grantio";
	return 0;
}

int xenbus_free_evtchn(struct xenbus_device *xbdev, evtchn_port_t port)
{
	(void)xbdev;
	world.owner[port] = NULL;
	return 0;
}

int bind_evtchn_to_irqhandler(evtchn_port_t port, irqreturn_t (*handler)(int, void *), unsigned long flags,
			      const char *name, void *dev_id)
{
	(void)flags, (void)name;
	port_of[++irqs % 64] = port;
	holder_of[irqs % 64] = dev_id;
	handler_of[irqs % 64] = handler;
	late[irqs % 64] = waits[irqs % 64] = false;
	world.handlers++;
	return (int)(irqs % 64);
}

int bind_evtchn_to_irqhandler_lateeoi(evtchn_port_t port, irq_handler_t handler, unsigned long flags, const char *name,
				      void *dev_id)
{
	int irq = bind_evtchn_to_irqhandler(port, handler, flags, name, dev_id);

	late[irq] = true;
	return irq;
}

void xen_irq_lateeoi(unsigned irq, unsigned flags)
{
	if (!waits[irq])
		shim_warnings++;
	waits[irq] = false;
	world_spurious += flags & XEN_EOI_FLAG_SPURIOUS;
}

void notify_remote_via_irq(int irq)
{
	if (port_of[irq])
		world_device_told(port_of[irq]);
}

void world_event(evtchn_port_t port)
{
	for (unsigned irq = 1; irq < 64; irq++) {
		if (port_of[irq] != port || !holder_of[irq] || waits[irq])
			continue;
		waits[irq] = late[irq];
		handler_of[irq]((int)irq, holder_of[irq]);
	}
}

void unbind_from_irqhandler(unsigned irq, void *dev_id)
{
	if (holder_of[irq] != dev_id)
		shim_warnings++;
	else
		world.handlers--;
	holder_of[irq] = NULL;
	if (port_of[irq])
		world.owner[port_of[irq]] = NULL;
	port_of[irq] = 0;
}

/* ---- xenbus ----------------------------------------------------------------------------------------------------- */

static const struct {
	const char *key, *value;
} offer[] = {
	{"virtio-msg/draft", world_device.draft},
	{"virtio-msg/revision", "1"},
	{"virtio-msg/max-size", world_device.max_size},
	{"virtio-msg/features", "0"},
	{"virtio-msg/max-queue-channels", world_device.channels},
	{"virtio-msg/pool-max", world_device.pool_max},
};
static struct {
	char key[32], value[64];
} answers[64];

const char *world_answer(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		if (!strcmp(answers[i].key, key))
			return answers[i].value;
	return "";
}

char *xenbus_read(struct xenbus_transaction xbt, const char *dir, const char *key, unsigned *len)
{
	bool own = !strncmp(dir, "device/", 7);

	(void)xbt, (void)len;
	if (own && !strcmp(key, "type") && *world.type)
		return strdup(world.type);
	if (own)
		return ERR_PTR(-ENOENT);
	if (!strcmp(key, "base") && *world.placed)
		return strdup(world.placed);
	if (!strcmp(key, "grantio-version"))
		return strdup("1");
	for (size_t i = 0; i < ARRAY_SIZE(offer) && *world_device.draft; i++)
		if (!strcmp(key, offer[i].key))
			return strdup(offer[i].value);
	if (!strcmp(key, "transport"))
		return strdup("mmio");
	return strcmp(key, "mmio-base") ? ERR_PTR(-ENOENT) : strdup(world.base);
}

unsigned xenbus_read_unsigned(const char *dir, const char *key, unsigned otherwise)
{
	(void)dir, (void)key, (void)otherwise;
	return world.backend;
}

int xenbus_transaction_start(struct xenbus_transaction *xbt)
{
	xbt->id = 1;
	return 0;
}

int xenbus_transaction_end(struct xenbus_transaction xbt, int abort)
{
	(void)xbt, (void)abort;
	return 0;
}

int xenbus_printf(struct xenbus_transaction xbt, const char *dir, const char *key, const char *format, ...)
{
	va_list args;
	size_t i;

	(void)xbt, (void)dir;
	for (i = 0; answers[i].key[0] && strcmp(answers[i].key, key); i++)
		;
	strcpy(answers[i].key, key);
	va_start(args, format);
	vsnprintf(answers[i].value, sizeof(answers[i].value), format, args);
	va_end(args);
	return 0;
}

int xenbus_switch_state(struct xenbus_device *xbdev, enum xenbus_state state)
{
	if (xbdev->state != state) /* as the kernel's, which writes nothing else */
		world.written = state;
	if (state == XenbusStateInitialised)
		world_device_begin();
	xbdev->state = state;
	return 0;
}

void xenbus_dev_error(struct xenbus_device *xbdev, int error, const char *format, ...)
{
	va_list args;

	(void)xbdev, (void)error;
	va_start(args, format);
	vsnprintf(world.said, sizeof(world.said), format, args);
	va_end(args);
}

int xenbus_register_frontend(struct xenbus_driver *driver)
{
	world.driver = driver;
	return 0;
}

int kstrtou64(const char *text, unsigned base, u64 *value)
{
	char *end;

	*value = strtoull(text, &end, (int)base);
	return *end || end == text ? -EINVAL : 0;
}

u32 readl(const void *addr)
{
	switch ((uintptr_t)addr & 0xff) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return 0x74726976;
	case VIRTIO_MMIO_VERSION:
		return 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return world.device_id;
	default:
		return 3;
	}
}

/* ---- the world ------------------------------------------------------------------------------------------------- */

u64 get_random_u64(void)
{
	static u64 last;

	return ++last * 0x9e3779b97f4a7c15u;
}

void world_restore(struct xenbus_device *xbdev)
{
	memset(port_of, 0, sizeof(port_of));
	memset(table, 0, sizeof(table)); /* as the kernel's when it goes on */
	memset(world.owner, 0, sizeof(world.owner));
	world.owner[5] = "netfront";
	xbdev->state = XenbusStateInitialising;
	world.backend = XenbusStateInitWait;
	world.driver->resume(xbdev);
	if (world.devices)
		world.device->dev.pm_domain->ops.restore(&world.device->dev);
}

void world_new(void)
{
	if (!shim_arena)
		shim_arena = aligned_alloc(PAGE_SIZE, SHIM_PAGES * PAGE_SIZE);
	memset(shim_arena, 0, SHIM_PAGES * PAGE_SIZE);
	memset(shim_pages, 0, sizeof(shim_pages));
	memset(table, 0, sizeof(table));
	memset(holder_of, 0, sizeof(holder_of));
	memset(port_of, 0, sizeof(port_of));
	unused_count = 0;
	for (grant_ref_t ref = REFS - 1; ref >= 8; ref--)
		unused[unused_count++] = ref;
	shim_warnings = shim_errors = irqs = arrays = 0;
	shim_module = 0;
	world = (struct world){.device_id = VIRTIO_ID_BLOCK};
	world_devices_new();
	memset(put_off, 0, sizeof(put_off));
	memset(areas, 0, sizeof(areas));
	memset(answers, 0, sizeof(answers));
	memset(waits, 0, sizeof(waits));
	world_spurious = 0;
	busy = false;
	world_device = (struct world_device){
		.max_size = "264",
		.channels = "4",
		.pool_max = "16384",
		.type = VIRTIO_ID_BLOCK,
		.config_bytes = 60,
		.features = 3ull << VIRTIO_F_VERSION_1 | 1u << 2,
		.queue = {{.max_size = 64}, {.max_size = 1024}},
	};
	memset(slots[0], 0, sizeof(slots[0]));
	strcpy(world.base, "4271898624");
}
