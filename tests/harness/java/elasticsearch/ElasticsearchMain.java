package harness;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginBundle;
import org.elasticsearch.plugins.PluginsLoader;

/**
 * One Elasticsearch node (8.18 and later) by its public API. Arguments: the folder of modules, the configuration folder, then
 * settings as key=value. Prints READY when it serves; ends by SIGTERM, or when standard input closes.
 */
public final class ElasticsearchMain {
    public static void main(String[] arguments) throws Exception {
        Path modules = Path.of(arguments[0]), configuration = Path.of(arguments[1]);
        Settings.Builder builder = Settings.builder();
        for (int i = 2; i < arguments.length; i++) {
            int equals = arguments[i].indexOf('=');
            builder.put(arguments[i].substring(0, equals), arguments[i].substring(equals + 1));
        }
        Settings settings = builder.build();
        LogConfigurator.configureWithoutConfig(settings); // without it org.elasticsearch.logging has no provider
        Environment environment = InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), configuration, () -> "harness");
        // the last `false`: no exports of server modules, because the server lies on the class path
        PluginsLoader loader = PluginsLoader.createPluginsLoader(bundles(modules), Set.of(), Map.of(), false);
        Node node = new Node(environment, loader);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.prepareForClose();
                node.close();
                node.awaitClose(20, TimeUnit.SECONDS);
            } catch (IOException | InterruptedException e) {
                e.printStackTrace();
            }
        }));
        node.start();
        System.out.println("READY " + ProcessHandle.current().pid());
        while (System.in.read() >= 0) { }
        System.exit(0);
    }

    /** 8.18 to 9.2 take the path alone, 9.5 a boolean more. */
    @SuppressWarnings("unchecked")
    private static Set<PluginBundle> bundles(Path modules) throws ReflectiveOperationException {
        try {
            return (Set<PluginBundle>) PluginsLoader.class.getMethod("loadModulesBundles", Path.class).invoke(null, modules);
        } catch (NoSuchMethodException e) {
            return (Set<PluginBundle>) PluginsLoader.class.getMethod("loadModulesBundles", Path.class, boolean.class)
                .invoke(null, modules, false);
        }
    }
}
