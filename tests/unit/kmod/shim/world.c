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

static struct delayed_work *put_off;
static bool busy;

static void work_do(struct delayed_work *work)
{
	busy = true; /* never twice at once */
	work->work.fn(&work->work);
	busy = false;
}

void mod_delayed_work(struct workqueue_struct *queue, struct delayed_work *work, unsigned long delay)
{
	(void)queue;
	if (delay || world.work_stops || busy)
		put_off = work;
	else
		work_do(work);
}

bool world_work(void)
{
	struct delayed_work *work = put_off;

	put_off = NULL;
	if (work)
		work_do(work);
	return work;
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
static unsigned irqs;

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
	(void)handler, (void)flags, (void)name;
	port_of[++irqs % 64] = port;
	holder_of[irqs % 64] = dev_id;
	world.handlers++;
	return (int)(irqs % 64);
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

char *xenbus_read(struct xenbus_transaction xbt, const char *dir, const char *key, unsigned *len)
{
	bool own = !strncmp(dir, "device/", 7);

	(void)xbt, (void)len;
	if (own && !strcmp(key, "type") && *world.type)
		return strdup(world.type);
	if (own)
		return ERR_PTR(-ENOENT);
	if (!strcmp(key, "grantio-version"))
		return strdup("1");
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
	(void)xbt, (void)dir, (void)key, (void)format;
	return 0;
}

int xenbus_switch_state(struct xenbus_device *xbdev, enum xenbus_state state)
{
	if (xbdev->state != state) /* as the kernel's, which writes nothing else */
		world.written = state;
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

/* ---- the platform device and its driver ------------------------------------------------------------------------- */

static const struct bus_type {
	int unused;
} virtio_bus;
static struct notifier_block *notifier;
bool (*virtio_check_mem_acc_cb)(struct virtio_device *vdev);

int register_virtio_driver(struct virtio_driver *driver)
{
	driver->driver.bus = &virtio_bus;
	return 0;
}

int bus_register_notifier(const struct bus_type *bus, struct notifier_block *block)
{
	(void)bus;
	notifier = block;
	return 0;
}

void bus_unregister_notifier(const struct bus_type *bus, struct notifier_block *block)
{
	(void)bus, (void)block;
	notifier = NULL;
}

int device_for_each_child(struct device *parent, void *data, int (*fn)(struct device *dev, void *data))
{
	return parent == world.child.dev.parent ? fn(&world.child.dev, data) : 0;
}

static int virtio_freeze(struct device *dev)
{
	(void)dev;
	world.freezes++;
	return 0;
}

static int virtio_thaw(struct device *dev)
{
	(void)dev;
	world.thaws++;
	return world.thaw_error;
}

static int virtio_restore(struct device *dev)
{
	world.restores++;
	world.restored_irq = container_of(dev, struct platform_device, dev)->resource[1].start;
	if (!world.restore_errors)
		return 0;
	world.restore_errors--;
	return world.restore_error;
}

static const struct dev_pm_ops virtio_pm = {.freeze = virtio_freeze,
					    .thaw = virtio_thaw,
					    .restore = virtio_restore,
					    .suspend = virtio_freeze,
					    .resume = virtio_restore,
					    .poweroff = virtio_freeze};

struct platform_device *platform_device_alloc(const char *name, int id)
{
	(void)name, (void)id;
	return calloc(1, sizeof(struct platform_device));
}

int platform_device_add_resources(struct platform_device *pdev, const struct resource *resources, unsigned count)
{
	memcpy(pdev->resource, resources, count * sizeof(*resources));
	return 0;
}

int platform_device_add(struct platform_device *pdev)
{
	pdev->dev.driver = &world.virtio;
	world.device = pdev;
	world.devices++;
	world.made++;
	world.child = (struct virtio_device){
		.dev = {.parent = &pdev->dev, .bus = &virtio_bus, .driver = &world.child_driver.driver},
		.id = {world.child_type ? world.child_type : world.device_id, 0},
		.features = 3ull << VIRTIO_F_VERSION_1,
	};
	if (notifier)
		notifier->notifier_call(notifier, BUS_NOTIFY_ADD_DEVICE, &world.child.dev);
	return 0;
}

void platform_device_put(struct platform_device *pdev)
{
	free(pdev->dev.platform_data);
	free(pdev);
}

void platform_device_unregister(struct platform_device *pdev)
{
	world.devices--;
	world.breaks += world.child.broken;
	world.child.dev.parent = NULL;
	platform_device_put(pdev);
}

struct resource *platform_get_resource(struct platform_device *pdev, int type, unsigned index)
{
	return type == IORESOURCE_IRQ && !index ? &pdev->resource[1] : NULL;
}

void world_restore(struct xenbus_device *xbdev)
{
	memset(port_of, 0, sizeof(port_of));
	memset(world.owner, 0, sizeof(world.owner));
	world.owner[5] = "netfront";
	xbdev->state = XenbusStateInitialising;
	world.backend = XenbusStateInitWait;
	world.driver->resume(xbdev);
	if (world.devices)
		world.device->dev.pm_domain->ops.restore(&world.device->dev);
}

static int child_freezes(struct virtio_device *vdev)
{
	(void)vdev;
	return 0;
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
	world = (struct world){.virtio = {.name = "virtio-mmio", .pm = &virtio_pm}, .device_id = VIRTIO_ID_BLOCK};
	world.child_driver.freeze = child_freezes;
	put_off = NULL;
	memset(slots[0], 0, sizeof(slots[0]));
	strcpy(world.base, "4271898624");
}
