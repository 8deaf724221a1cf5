plugins {
    id("com.android.application")
}

android {
    namespace = "edgekit.demo"
    compileSdk = 34

    defaultConfig {
        applicationId = "edgekit.demo"
        minSdk = 24
        targetSdk = 34
        versionCode = 1
        versionName = "0.1.0"
        ndk {
            abiFilters += "arm64-v8a" // x86_64 for an emulator
        }
    }

    sourceSets {
        getByName("main") {
            java.srcDir("../../runtimes/jvm/src/main/java")
        }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }

    androidResources {
        noCompress += "onnx"
    }

    testOptions {
        unitTests.isIncludeAndroidResources = true
    }
}

// The runtime's command and its picture decoder are for desktops: they need javax.imageio.
tasks.withType<JavaCompile>().configureEach {
    exclude("edgekit/runtime/Main.java", "edgekit/runtime/Decoding.java")
}

dependencies {
    implementation("com.microsoft.onnxruntime:onnxruntime-android:1.26.0")
    implementation("com.google.code.gson:gson:2.13.1")
    // Paddle Lite, for who wants it: a release's PaddlePredictor.jar here, its .so in src/main/jniLibs/arm64-v8a.
    implementation(fileTree("libs") { include("*.jar") })
}
